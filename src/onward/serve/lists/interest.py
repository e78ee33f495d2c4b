"""Ranking by interest: the best items by score, put into the order of how much each would be liked.

Both come from one history. What a model scores high is what tends to come next; what it expects most interest in may be
what hardly anybody ever sees. So interest decides among the best by score, alone or mixed with it; what lies beyond
these follows in the order of scores.

Legend: B rows, V items of the model, S with those added at run time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Ints
from onward.serve.lists.ranking import Candidates, Floats
from onward.serve.lists.rules import Plan


class ByInterest:
    """Candidates in another order.

    Args:
        by_score: under the rules of each row.
        interests: (B, V + 1) float32 in [0, 1].
        weights: (B,) share of the interest: 0 is the score alone, 1 the interest alone. Between them both are in
            standard deviations from their mean over the row's best.
        best: items of a row that interest decides among.
        plans: whose boosts hold for interest too, in its standard deviations.
        tie_rank: (S + 1,) int32.
    """

    def __init__(
        self,
        by_score: Candidates,
        interests: Floats,
        weights: NDArray[np.float64],
        best: int,
        plans: Sequence[Plan],
        tie_rank: NDArray[np.int32],
    ) -> None:
        self._by_score, self._interests, self._weights = by_score, interests, weights
        self._best, self._plans, self._tie_rank = best, plans, tie_rank
        self._usual: dict[int, tuple[float, float, float, float]] = {}

    def top(self, rows: Sequence[int], depth: int) -> tuple[Ints, Floats]:
        """As in `Candidates`."""
        items, scores = self._by_score.top(rows, max(depth, self._best))
        for n, row in enumerate(rows):
            size = int((items[n] > 0).sum())
            if self._weights[row] and size:
                head = min(size, self._best)
                self._measure(row, items[n, :head], scores[n, :head])
                values = self._values(row, items[n, :size], scores[n, :size])
                order = np.arange(size)
                order[:head] = np.lexsort((self._tie_rank[items[n, :head]], -values[:head]))
                items[n, :size], scores[n, :size] = items[n, :size][order], values[order]
        return items[:, :depth], scores[:, :depth]

    def scores(self, row: int, items: Ints) -> Floats:
        """As in `Candidates`: what the row is ranked by."""
        scores = self._by_score.scores(row, items)
        if not self._weights[row]:
            return scores
        if row not in self._usual:
            self.top([row], self._best)
        return self._values(row, items, scores) if row in self._usual else scores

    def interest(self, row: int, items: Ints) -> list[float | None]:
        """The interest in some items; None where there is none, and for a row that isn't ranked by it."""
        if not self._weights[row]:
            return [None] * len(items)
        return [None if np.isnan(one) else one for one in self._of(row, items).tolist()]

    def _of(self, row: int, items: Ints) -> Floats:
        """(n,) interest, NaN for items that were added at run time."""
        known = items < self._interests.shape[1]
        found: Floats = self._interests[row, np.where(known, items, 0)]
        found[~known] = np.nan
        return found

    def _measure(self, row: int, items: Ints, scores: Floats) -> None:
        if row not in self._usual:
            interest = self._of(row, items)
            interest = interest[~np.isnan(interest)] if not np.isnan(interest).all() else np.zeros(1, np.float32)
            self._usual[row] = float(scores.mean()), _spread(scores), float(interest.mean()), _spread(interest)

    def _values(self, row: int, items: Ints, scores: Floats) -> Floats:
        """(n,) what the row is ranked by. An item of unknown interest counts as of the mean."""
        mean_score, spread_score, mean, spread = self._usual[row]
        interest = np.nan_to_num(self._of(row, items), nan=mean)
        plan = self._plans[row]
        if len(plan.boosted):
            raised = np.zeros(len(self._tie_rank), np.float32)
            raised[plan.boosted] = plan.boosts
            interest = interest + raised[items] * np.float32(spread)
        weight = self._weights[row]
        if weight == 1:
            return interest.astype(np.float32)
        mixed = (1 - weight) * (scores - mean_score) / spread_score + weight * (interest - mean) / spread
        values: Floats = mixed.astype(np.float32)
        return values


def _spread(values: Floats) -> float:
    """Standard deviation; 1 where all are the same."""
    return float(values.std()) or 1.0
