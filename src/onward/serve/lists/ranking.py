"""From scores to lists: the best items under rules, then what popularity fills in.

The order of the best is that of `Recommender.recommend`: ties stand in the order of `tie_rank`, never of indices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Ints
from onward.errors import TrainingError
from onward.models.top_k import top_k
from onward.serve.lists.fallback import Popular
from onward.serve.lists.requests import FallbackKind
from onward.serve.lists.rules import Cap, Plan

DEEPER = 4
"""Factor by which a list that rules thin out is looked for deeper."""
FILL_STEP = 256
"""Popular items looked at together."""

Floats = NDArray[np.float32]


class Candidates(Protocol):
    """The best items of the requests of a batch, under each one's rules and without what each has seen."""

    def top(self, rows: Sequence[int], depth: int) -> tuple[Ints, Floats]:
        """(n, depth) int64 items of some rows, best first, and (n, depth) float32 scores; 0 and -inf where no more
        pass."""
        ...

    def scores(self, row: int, items: Ints) -> Floats:
        """(n,) float32 what the model gives some of its items, boosts included and rules aside."""
        ...


class Exact:
    """Every score is computed.

    Args:
        scores: (B, V + 1) float32, of the model; changed in place.
        plans: of each row.
        seen: each row's items to leave out, (n,) indices; 0 and items past V may be among them.
        tie_rank: (V + 1,) int32.

    Raises TrainingError when the model gave NaN.
    """

    def __init__(
        self, scores: Tensor, plans: Sequence[Plan], seen: Sequence[NDArray[np.integer]], tie_rank: NDArray[np.int32]
    ) -> None:
        self._scores, self._tie_rank = scores, tie_rank
        self._kept: dict[int, Floats] = {}
        for row, plan in enumerate(plans):
            if len(plan.boosted):
                usual = scores[row, 1:].std(correction=0)
                scores[row, torch.from_numpy(plan.boosted)] += torch.from_numpy(plan.boosts) * usual
            if plan.pinned:
                self._kept[row] = scores[row].numpy().copy()
        self._mask(plans, seen)

    def _mask(self, plans: Sequence[Plan], seen: Sequence[NDArray[np.integer]]) -> None:
        scores = self._scores.numpy()
        if all(plan is plans[0] for plan in plans):
            np.copyto(scores, -np.inf, where=plans[0].unwanted.numpy())
        else:
            for row, plan in zip(scores, plans, strict=True):
                np.copyto(row, -np.inf, where=plan.unwanted.numpy())
        for row, items in zip(scores, seen, strict=True):
            row[items[items < len(row)]] = -np.inf

    def top(self, rows: Sequence[int], depth: int) -> tuple[Ints, Floats]:
        """As in `Candidates`."""
        some = self._scores if len(rows) == len(self._scores) else self._scores[list(rows)]
        items, scores = top_k(some, depth, self._tie_rank)
        if np.isnan(scores).any():
            raise TrainingError("the model gave NaN scores", "train it again, with a smaller learning rate")
        return items, scores

    def scores(self, row: int, items: Ints) -> Floats:
        """As in `Candidates`; of rows with pins."""
        return self._kept[row][items]


@dataclass
class Chosen:
    """One list: parallel lists of indices, scores, and what each stands there for."""

    items: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    pinned: int = 0
    filled: int = 0
    """Last items that popularity filled in."""
    fallback: FallbackKind | None = None


def choose(
    candidates: Candidates | None,
    rows: Sequence[int],
    plans: Sequence[Plan],
    lengths: Sequence[int],
    seen: Sequence[NDArray[np.integer]],
    popular: Popular,
) -> list[Chosen]:
    """The lists of a batch.

    Args:
        candidates: of the rows that the model answers; None when it answers none.
        rows: for each request, its row among the candidates; -1 for one that the model knows nothing of.
        plans, lengths, seen: of each request; `seen` as in `Exact`.
    """
    found: list[Chosen] = [Chosen() for _ in rows]
    plain = [n for n, row in enumerate(rows) if row >= 0 and not plans[n].caps and not plans[n].pinned]
    if candidates is not None and plain:
        depth = max(lengths[n] for n in plain)
        items, scores = candidates.top([rows[n] for n in plain], depth)
        for n, some, scored in zip(plain, items.tolist(), scores.tolist(), strict=True):
            size = lengths[n]
            if some[size - 1] == 0:
                size = some.index(0)
            found[n] = Chosen(some[:size], scored[:size])
    is_plain = set(plain)
    for n, plan in enumerate(plans):
        if n in is_plain and len(found[n].items) == lengths[n]:
            continue
        counts = _Counts(plan.caps)
        if n not in is_plain:
            _pin(found[n], plan, lengths[n], counts, candidates, rows[n])
            if candidates is not None and rows[n] >= 0:
                _add(found[n], _deeper(candidates, rows[n], lengths[n]), lengths[n], counts)
        if len(found[n].items) < lengths[n]:
            _fill(found[n], plan, lengths[n], counts, seen[n], popular)
    return found


def _pin(chosen: Chosen, plan: Plan, length: int, counts: _Counts, candidates: Candidates | None, row: int) -> None:
    for item in plan.pinned[:length]:
        chosen.items.append(item)
        counts.take(item)
    chosen.pinned = len(chosen.items)
    chosen.scores = [0.0] * chosen.pinned
    if candidates is not None and row >= 0 and plan.pinned:
        scored = len(plan.unwanted)
        index = np.array(chosen.items, dtype=np.int64)
        known = np.flatnonzero(index < scored)
        for place, score in zip(known.tolist(), candidates.scores(row, index[known]).tolist(), strict=True):
            chosen.scores[place] = score


def _deeper(candidates: Candidates, row: int, length: int) -> Iterator[tuple[int, float]]:
    """Items and scores of one row, best first, until no more pass."""
    depth, given = DEEPER * length, 0
    while True:
        items, scores = candidates.top([row], depth)
        for item, score in zip(items[0, given:].tolist(), scores[0, given:].tolist(), strict=True):
            if item == 0:
                return
            yield item, score
        depth, given = depth * DEEPER, depth


def _add(chosen: Chosen, best: Iterator[tuple[int, float]], length: int, counts: _Counts) -> None:
    there = set(chosen.items)
    for item, score in best:
        if len(chosen.items) == length:
            return
        if item not in there and counts.fits(item):
            counts.take(item)
            chosen.items.append(item)
            chosen.scores.append(score)


def _fill(
    chosen: Chosen, plan: Plan, length: int, counts: _Counts, seen: NDArray[np.integer], popular: Popular
) -> None:
    order, recent = popular.under(plan)
    left_out = {*chosen.items, *seen.tolist()}
    for first in range(0, len(order), FILL_STEP):
        for place, item in enumerate(order[first : first + FILL_STEP].tolist(), first):
            if len(chosen.items) == length:
                return
            if item not in left_out and counts.fits(item):
                counts.take(item)
                chosen.fallback = chosen.fallback or ("recent" if place < recent else "popular")
                chosen.items.append(item)
                chosen.scores.append(float(popular.scores[item]))
                chosen.filled += 1


class _Counts:
    """Items of each value that a list holds, against what rules allow."""

    def __init__(self, caps: Sequence[Cap]) -> None:
        self._caps = [(cap, dict[int, int]()) for cap in caps]

    def fits(self, item: int) -> bool:
        """Whether one more item is allowed."""
        return all(counts.get(value, 0) < cap.limit for cap, counts in self._caps for value in cap.of(item))

    def take(self, item: int) -> None:
        """The item is in the list."""
        for cap, counts in self._caps:
            for value in cap.of(item):
                counts[value] = counts.get(value, 0) + 1
