"""The best items of a large catalog without scoring all of it: a faiss index, and exact scores of what it finds.

Item vectors, each with its bias as one number more, lie in about sqrt(V) cells of 8-bit codes (inverted file; Jegou,
Douze and Schmid, TPAMI 2011; Johnson, Douze and Jegou, arXiv:1702.08734). A search looks into the cells nearest to the
state and takes a few times as many items as are wanted; their scores are then computed exactly, so that a list can miss
an item but never shows a wrong score or order. How many cells that takes is measured when the index is built.

Legend: V items, D width, Q states.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Ints
from onward.errors import MissingExtraError
from onward.serve.lists.ranking import Candidates, Exact, Floats
from onward.serve.lists.rules import Plan
from onward.serve.lists.scoring import Scorer

K = 10
"""Length of the lists on which recall is measured."""
STATES = 256
"""States that it is measured with."""
SHORTLIST = 4
"""Items looked at exactly for each one wanted."""
FEW = 20_000
"""Items that are scored exactly rather than looked for, where rules let no more pass."""
TRAINING = 64
"""Vectors a cell that the cells are learned from."""
SAMPLE = 4_096
"""Items whose scores tell the usual spread of scores, for boosts."""


@dataclass(frozen=True)
class IndexFacts:
    """What was measured when an index was built.

    Attributes:
        items, cells: how many; `probes` cells are looked into.
        recall: share of the exact best ten that is found, over STATES histories drawn by popularity.
        exact_ms, index_ms: milliseconds of one search, each without the encoder.
        bytes: of the codes.
        seconds: that building took.
    """

    items: int
    cells: int
    probes: int
    recall: float
    exact_ms: float
    index_ms: float
    bytes: int
    seconds: float


class ItemIndex:
    """An index over the items that a model was trained on.

    Args:
        scorer: of a model with states.
        wanted: recall to reach.

    Raises MissingExtraError without faiss.
    """

    def __init__(self, scorer: Scorer, wanted: float) -> None:
        try:
            faiss: Any = importlib.import_module("faiss")
        except ImportError:
            raise MissingExtraError("faiss-cpu", "ann") from None
        started = perf_counter()
        self._faiss, self._scorer = faiss, scorer
        self.vectors = torch.cat([scorer.table, scorer.bias[:, None]], dim=1)  # (V + 1, D + 1)
        self._members = np.flatnonzero(scorer.trained)
        faiss.omp_set_num_threads(torch.get_num_threads())
        self._index = self._build()
        self.facts = self._measure(wanted, started)

    def _build(self) -> Any:
        faiss, width = self._faiss, self.vectors.shape[1]
        cells = 1 << max(1, round(math.log2(math.sqrt(len(self._members)))))
        coarse = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFScalarQuantizer(
            coarse, width, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        members = self.vectors[torch.from_numpy(self._members)].numpy()
        sample = np.random.default_rng(0).permutation(len(members))[: cells * TRAINING]
        index.cp.seed, index.cp.min_points_per_centroid = 0, 1
        index.train(members[sample])
        index.add_with_ids(members, self._members)
        return index

    def _measure(self, wanted: float, started: float) -> IndexFacts:
        """Look into twice as many cells until enough is found."""
        states = self._scorer.states(self._scorer.typical(STATES))
        exact = []
        began = perf_counter()
        for row in range(STATES):
            scores = self._scorer.of_states(states[row : row + 1])[0]
            scores[torch.from_numpy(~self._scorer.trained)] = -torch.inf
            exact.append(set(torch.topk(scores, K).indices.tolist()))
        exact_ms = (perf_counter() - began) / STATES * 1e3
        self.probes, cells, recall = 1, int(self._index.nlist), 0.0
        while True:
            began = perf_counter()
            found = [self._nearest(states[row], K, None)[0][:K].tolist() for row in range(STATES)]
            index_ms = (perf_counter() - began) / STATES * 1e3
            recall = sum(len(best & set(some)) for best, some in zip(exact, found, strict=True)) / (K * STATES)
            if recall >= wanted or self.probes >= cells:
                break
            self.probes = min(2 * self.probes, cells)
        size = int(self._index.code_size) * len(self._members)
        seconds = perf_counter() - started
        return IndexFacts(len(self._members), cells, self.probes, recall, exact_ms, index_ms, size, seconds)

    def _nearest(self, state: Tensor, n: int, bits: NDArray[np.uint8] | None) -> tuple[Ints, Floats]:
        """About the n best items of one state, best first, with exact scores; `bits` says which may be found."""
        query = np.append(state.numpy(), np.float32(1))[None]
        options = {} if bits is None else {"sel": self._faiss.IDSelectorBitmap(bits)}
        parameters = self._faiss.SearchParametersIVF(nprobe=self.probes, **options)
        _, found = self._index.search(query, SHORTLIST * n, params=parameters)
        items: Ints = found[0][found[0] > 0]
        scores = self.exact(state, items)
        order = np.argsort(-scores, kind="stable")
        return items[order], scores[order]

    def exact(self, state: Tensor, items: Ints) -> Floats:
        """(n,) float32 scores of some items."""
        chosen = self.vectors[torch.from_numpy(items)]
        scores: Floats = torch.mv(chosen[:, :-1], state).add_(chosen[:, -1]).numpy()
        return scores

    def best(self, state: Tensor, n: int, plan: Plan, seen: NDArray[np.integer]) -> tuple[Ints, Floats] | None:
        """At least the n best of the model's items under rules, without what was seen; None where it finds fewer."""
        passing = plan.passing
        if len(passing) <= FEW:
            items = passing[~np.isin(passing, seen)]
            return items, self.exact(state, items)
        bits = None if len(passing) == len(self._members) else plan.bits
        items, scores = self._nearest(state, n + len(seen), bits)
        kept = ~np.isin(items, seen)
        return (items[kept], scores[kept]) if kept.sum() >= n else None


class Indexed:
    """Candidates by an index; where it finds too few of them, every score is computed.

    Args: as of `Exact`, with the (B, D) states in place of scores.
    """

    def __init__(
        self,
        index: ItemIndex,
        scorer: Scorer,
        states: Tensor,
        plans: Sequence[Plan],
        seen: Sequence[NDArray[np.integer]],
        tie_rank: NDArray[np.int32],
    ) -> None:
        self._index, self._scorer, self._states = index, scorer, states
        self._plans, self._seen, self._tie_rank = plans, seen, tie_rank

    def top(self, rows: Sequence[int], depth: int) -> tuple[Ints, Floats]:
        """As in `Candidates`."""
        items, scores = np.zeros((len(rows), depth), np.int64), np.full((len(rows), depth), -np.inf, np.float32)
        for n, row in enumerate(rows):
            some, scored = self._best(row, depth)
            items[n, : len(some)], scores[n, : len(some)] = some, scored
        return items, scores

    def _best(self, row: int, depth: int) -> tuple[Ints, Floats]:
        plan, seen, state = self._plans[row], self._seen[row], self._states[row]
        found = self._index.best(state, depth, plan, seen)
        if found is None:
            found_all, scored = self._exact(row).top([0], depth)
            size = int((found_all[0] > 0).sum())
            return found_all[0, :size], scored[0, :size]
        items, scores = found
        if len(plan.boosted):
            items = np.union1d(items, plan.boosted[~plan.unwanted.numpy()[plan.boosted] & ~np.isin(plan.boosted, seen)])
            scores = self.scores(row, items)
        order = np.lexsort((self._tie_rank[items], -scores))[:depth]
        return items[order], scores[order]

    def scores(self, row: int, items: Ints) -> Floats:
        """As in `Candidates`."""
        plan, scores = self._plans[row], self._index.exact(self._states[row], items)
        if len(plan.boosted):
            raised = np.zeros(len(self._index.vectors), np.float32)
            raised[plan.boosted] = plan.boosts
            scores = scores + raised[items] * self._usual(row)
        return scores

    def _usual(self, row: int) -> float:
        """How far scores of this row usually lie apart: their standard deviation."""
        sample = np.linspace(1, len(self._index.vectors) - 1, SAMPLE).astype(np.int64)
        return float(self._index.exact(self._states[row], sample).std())

    def _exact(self, row: int) -> Candidates:
        scores = self._scorer.of_states(self._states[row : row + 1])
        return Exact(scores, [self._plans[row]], [self._seen[row]], self._tie_rank)
