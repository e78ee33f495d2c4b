"""The best items of a large catalog without scoring all of it: a faiss index, and exact scores of what it finds.

Item vectors, each with its bias as one number more, lie in about sqrt(V) cells of 8-bit codes (inverted file; Jegou,
Douze and Schmid, TPAMI 2011; Johnson, Douze and Jegou, arXiv:1702.08734). A search looks into the cells nearest to the
state and takes a few times as many items as are wanted; their scores are then computed exactly, so that a list can miss
an item but never shows a wrong score or order. How many cells that takes is measured when the index is built. Items
whose vectors were made at run time stand in no cell, or in the wrong one: they are scored beside what is found.

Legend: V items, D width, Q states.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
BATCH = 32
"""Lists that are computed together where many are asked for."""
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
        top: the largest index of an item in it.
        recall: share of the exact best ten that is found, over STATES histories drawn by popularity.
        exact_ms, index_ms: median milliseconds of one list, each without the encoder.
        bytes: of the codes.
        seconds: that building took.
    """

    items: int
    cells: int
    probes: int
    top: int
    recall: float
    exact_ms: float
    index_ms: float
    bytes: int
    seconds: float

    def worth(self, recall: float) -> bool:
        """Whether it finds the share of the exact list that is wanted, faster than computing every score. Of FEW items
        it never is worth it: it isn't searched for them, and they are scored list by list, where a batch of exact lists
        shares one product."""
        return self.items > FEW and self.index_ms < self.exact_ms and self.recall >= recall


class ItemIndex:
    """An index over the items that a model was trained on.

    Args:
        index: of faiss, as `build_index` makes it.
        facts: what was measured of it.
    """

    def __init__(self, index: Any, facts: IndexFacts) -> None:
        self._faiss = load_faiss()
        self.index, self.facts = index, facts

    def shortlist(self, state: Tensor, n: int, bits: NDArray[np.uint8] | None = None) -> Ints:
        """Items among which are about the n best of one (D,) state; `bits` says which may be found."""
        query = np.append(state.numpy(), np.float32(1))[None]
        options = {} if bits is None else {"sel": self._faiss.IDSelectorBitmap(bits)}
        parameters = self._faiss.SearchParametersIVF(nprobe=self.facts.probes, **options)
        _, found = self.index.search(query, SHORTLIST * n, params=parameters)
        items: Ints = found[0][found[0] > 0]
        return items

    def best(self, scorer: Scorer, state: Tensor, n: int, plan: Plan, seen: NDArray[np.integer]) -> Ints | None:
        """The n best items under rules, and perhaps others, without what was seen, in any order; None where it finds
        fewer. What was made at run time is all among them."""
        passing = plan.passing
        if len(passing) <= FEW:
            return passing[~np.isin(passing, seen)]
        members = int(np.searchsorted(passing, self.facts.top, side="right"))
        bits = None if members == self.facts.items else plan.bits
        found = self.shortlist(state, n + len(seen), bits)
        if len(scorer.fresh):
            found = np.union1d(found, scorer.fresh[~plan.unwanted.numpy()[scorer.fresh]])
        found = found[~np.isin(found, seen)]
        return found if len(found) >= n else None


def exact_scores(scorer: Scorer, state: Tensor, items: Ints) -> Floats:
    """(n,) float32 scores of some items after one (D,) state."""
    chosen = torch.from_numpy(items)
    scores: Floats = torch.mv(scorer.table[chosen], state).add_(scorer.bias[chosen]).numpy()
    return scores


def load_faiss() -> Any:
    """The package. Raises MissingExtraError without it."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MissingExtraError("faiss-cpu", "ann") from None


def build_index(scorer: Scorer, wanted: float) -> ItemIndex:
    """Build an index and measure it: it looks into twice as many cells until the recall `wanted` is reached.

    Raises MissingExtraError without faiss.
    """
    started = perf_counter()
    index, members = _trained_index(scorer), np.flatnonzero(scorer.trained)
    states = scorer.states(scorer.typical(STATES))
    exact, exact_ms = _exact(scorer, states)
    probes, cells = 1, int(index.nlist)
    while True:
        size = int(index.code_size) * len(members)
        facts = IndexFacts(len(members), cells, probes, int(members[-1]), 0.0, exact_ms, 0.0, size, 0.0)
        made, took, found = ItemIndex(index, facts), [], 0
        for row in range(STATES):
            began = perf_counter()
            items = made.shortlist(states[row], K)
            best = items[np.argsort(-exact_scores(scorer, states[row], items))[:K]]
            took.append(perf_counter() - began)
            found += len(exact[row] & set(best.tolist()))
        recall = found / (K * STATES)
        if recall >= wanted or probes >= cells:
            break
        probes = min(2 * probes, cells)
    index_ms, seconds = float(np.median(took)) * 1e3, perf_counter() - started
    return ItemIndex(index, replace(facts, recall=recall, index_ms=index_ms, seconds=seconds))


def _trained_index(scorer: Scorer) -> Any:
    faiss = load_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    ids = np.flatnonzero(scorer.trained)
    chosen = torch.from_numpy(ids)
    members = torch.cat([scorer.table[chosen], scorer.bias[chosen, None]], dim=1).numpy()  # only while this runs
    width, cells = members.shape[1], 1 << max(1, round(math.log2(math.sqrt(len(ids)))))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(width), width, cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.seed, index.cp.min_points_per_centroid = 0, 1
    index.train(members[np.random.default_rng(0).permutation(len(members))[: cells * TRAINING]])
    index.add_with_ids(members, ids)
    return index


def _exact(scorer: Scorer, states: Tensor) -> tuple[list[set[int]], float]:
    """The best ten of each state, and the milliseconds of one list: alone, or in a batch where that is quicker."""
    never, best, quickest = torch.from_numpy(~scorer.trained), list[set[int]](), math.inf
    for size in (1, BATCH):
        took, best = [], []
        for first in range(0, len(states), size):
            began = perf_counter()
            scores = scorer.of_states(states[first : first + size])
            scores[:, never] = -torch.inf
            top = torch.topk(scores, K, dim=1).indices
            took.append((perf_counter() - began) / len(scores))
            best += [set(row) for row in top.tolist()]
        quickest = min(quickest, float(np.median(took)))
    return best, quickest * 1e3


class Indexed:
    """Candidates by an index; where it finds too few of them, every score is computed.

    Args: as of `Exact`, with the (B, D) states and what scores them in place of scores.
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
        items = self._index.best(self._scorer, state, depth, plan, seen)
        if items is None:
            found_all, scored = self._exact(row).top([0], depth)
            size = int((found_all[0] > 0).sum())
            return found_all[0, :size], scored[0, :size]
        if len(plan.boosted):
            items = np.union1d(items, plan.boosted[~plan.unwanted.numpy()[plan.boosted] & ~np.isin(plan.boosted, seen)])
        scores = self.scores(row, items)
        order = np.lexsort((self._tie_rank[items], -scores))[:depth]
        return items[order], scores[order]

    def scores(self, row: int, items: Ints) -> Floats:
        """As in `Candidates`."""
        plan, scores = self._plans[row], exact_scores(self._scorer, self._states[row], items)
        if len(plan.boosted):
            raised = np.zeros(len(self._scorer.table), np.float32)
            raised[plan.boosted] = plan.boosts
            scores = scores + raised[items] * self._usual(row)
        return scores

    def _usual(self, row: int) -> float:
        """How far scores of this row usually lie apart: their standard deviation."""
        sample = np.linspace(1, len(self._scorer.table) - 1, SAMPLE).astype(np.int64)
        return float(exact_scores(self._scorer, self._states[row], sample).std())

    def _exact(self, row: int) -> Candidates:
        scores = self._scorer.of_states(self._states[row : row + 1])
        return Exact(scores, [self._plans[row]], [self._seen[row]], self._tie_rank)
