"""Metrics against hand-worked numbers, every order of the ties, and an independent library."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.evaluate.metrics import AT_K, request_metrics
from onward.evaluate.ranking import Ranks

# One request as (score of each candidate, which candidates are targets, targets that can't be found)
Case = tuple[list[int], list[int], int]


def ranks_of(cases: list[Case]) -> Ranks:
    """Ranks by counting, one case a request; targets that can't be found come last."""
    request, item, above, tied = [], [], [], []
    for row, (scores, targets, missing) in enumerate(cases):
        for target in targets:
            request.append(row)
            item.append(target + 1)
            above.append(sum(score > scores[target] for score in scores))
            tied.append(sum(score == scores[target] for score in scores))
        request += [row] * missing
        item += [len(scores) + 1 + i for i in range(missing)]
        above += [0] * missing
        tied += [0] * missing
    size = np.array([len(targets) + missing for _, targets, missing in cases])
    miss = np.array(tied) == 0
    return Ranks(np.array(request), np.array(item), np.array(above), np.array(tied), size, miss, np.zeros_like(miss))


def of_order(relevant: list[bool], size: int, k: int) -> dict[str, float]:
    """The textbook metrics of one list without ties."""
    top = relevant[:k]
    hits = sum(top)
    dcg = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(top, 1) if hit)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, size) + 1))
    first = next((rank for rank, hit in enumerate(top, 1) if hit), None)
    precision, recall = hits / k, hits / size
    ap = sum(sum(top[:rank]) / rank for rank, hit in enumerate(top, 1) if hit)
    return {
        "ndcg": dcg / ideal,
        "hr": float(hits > 0),
        "recall": recall,
        "precision": precision,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "mrr": 1 / first if first else 0.0,
        "map": ap / min(k, size),
    }


def over_all_orders(case: Case, k: int) -> dict[str, float]:
    """Mean of each metric over every order of the candidates that agrees with the scores."""
    scores, targets, missing = case
    values = sorted(set(scores), reverse=True)
    ties = [[i for i, score in enumerate(scores) if score == value] for value in values]
    found = []
    for order in itertools.product(*(itertools.permutations(tie) for tie in ties)):
        relevant = [i in targets for i in itertools.chain.from_iterable(order)]
        found.append(of_order(relevant, len(targets) + missing, k))
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


@st.composite
def cases(draw: Callable) -> Case:
    scores = draw(st.lists(st.integers(0, 2), min_size=1, max_size=6))
    targets = draw(st.lists(st.integers(0, len(scores) - 1), unique=True, max_size=4))
    return scores, sorted(targets), draw(st.integers(0 if targets else 1, 2))


@given(st.lists(cases(), min_size=1, max_size=3), st.integers(1, 7))
@settings(deadline=None, max_examples=150)
def test_every_metric_is_its_mean_over_all_orders_of_the_ties(given_cases: list[Case], k: int) -> None:
    ranks = ranks_of(given_cases)
    for row, case in enumerate(given_cases):
        expected = over_all_orders(case, k)
        for name, metric in AT_K.items():
            assert metric(ranks, k)[row] == pytest.approx(expected[name], abs=1e-12), name


def test_hand_worked_numbers_of_one_target() -> None:
    # third of five; tied with one other for ranks 2 and 3; a miss
    ranks = ranks_of([([5, 4, 3, 2, 1], [2], 0), ([9, 8, 8, 7, 6], [1], 0), ([1, 2], [], 1)])
    values = request_metrics(ranks, [2, 10])
    assert values["hr@10"].tolist() == [1, 1, 0]
    assert values["hr@2"].tolist() == [0, 0.5, 0]
    assert values["mrr@10"].tolist() == pytest.approx([1 / 3, (1 / 2 + 1 / 3) / 2, 0])
    assert values["ndcg@10"].tolist() == pytest.approx([0.5, (1 / math.log2(3) + 0.5) / 2, 0])
    assert values["precision@2"].tolist() == pytest.approx([0, 0.25, 0])
    assert values["f1@2"].tolist() == pytest.approx([0, 0.5 * 2 / 3, 0])
    assert values["accuracy@1"].tolist() == [0, 0, 0]
    assert set(values) == {f"{name}@{k}" for name in AT_K for k in (2, 10)} | {"accuracy@1"}


def test_hand_worked_numbers_of_a_set() -> None:
    # targets at ranks 1 and 4 of the list, and a third that can't be found
    ranks = ranks_of([([9, 8, 7, 6, 5], [0, 3], 1)])
    values = {name: value[0] for name, value in request_metrics(ranks, [2, 5]).items()}
    assert values["recall@5"] == pytest.approx(2 / 3)
    assert values["precision@5"] == pytest.approx(2 / 5)
    assert values["f1@5"] == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))
    assert values["ndcg@5"] == pytest.approx((1 + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 0.5))
    assert values["ndcg@2"] == pytest.approx(1 / (1 + 1 / math.log2(3)))  # ideal of min(2, 3) targets
    assert values["map@5"] == pytest.approx((1 + 2 / 4) / 3)
    assert values["map@2"] == pytest.approx(1 / 2)
    assert values["mrr@5"] == values["hr@5"] == values["accuracy@1"] == 1


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 70))
@settings(deadline=None)
def test_a_constant_model_scores_like_a_random_one(n: int, size: int, k: int) -> None:
    size = min(size, n)
    ranks = ranks_of([([0] * n, list(range(size)), 0)])
    values = {name: float(metric(ranks, k)[0]) for name, metric in AT_K.items()}
    assert values["recall"] == pytest.approx(min(k, n) / n)
    assert values["hr"] == pytest.approx(1 - math.comb(n - size, min(k, n)) / math.comb(n, min(k, n)))
    # rank of the best of `size` targets: mean over all equally likely sets of places
    best = [math.comb(n - r, size - 1) / math.comb(n, size) for r in range(1, n + 1)]
    assert values["mrr"] == pytest.approx(sum(p / r for r, p in enumerate(best, 1) if r <= k))


def test_a_random_model_comes_to_the_same_by_sampling() -> None:
    generator = np.random.default_rng(0)
    constant = ranks_of([([0] * 12, [3, 4, 7], 0)])
    sampled = ranks_of([(generator.permutation(12).tolist(), [3, 4, 7], 0) for _ in range(20000)])
    for name, metric in AT_K.items():
        assert metric(constant, 5)[0] == pytest.approx(metric(sampled, 5).mean(), abs=0.01), name


@given(st.lists(st.tuples(st.permutations(range(12)), st.integers(1, 5)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_agrees_with_an_independent_library(lists: list[tuple[list[int], int]]) -> None:
    """trec_eval (through ir-measures) on untied scores; it divides AP by all targets, also when they exceed k."""
    k = 5
    given_cases = [(scores, list(range(size)), 0) for scores, size in lists]
    ranks = ranks_of(given_cases)
    qrels = [
        ir_measures.Qrel(str(row), str(target), 1)
        for row, (_, targets, _) in enumerate(given_cases)
        for target in targets
    ]
    run = [
        ir_measures.ScoredDoc(str(row), str(item), float(score))
        for row, (scores, _, _) in enumerate(given_cases)
        for item, score in enumerate(scores)
    ]
    theirs = {
        "ndcg": ir_measures.nDCG @ k,
        "hr": ir_measures.Success @ k,
        "recall": ir_measures.R @ k,
        "precision": ir_measures.P @ k,
        "map": ir_measures.AP @ k,
        "mrr": ir_measures.RR @ k,
    }
    named = {str(measure): name for name, measure in theirs.items()}
    compared = 0
    for entry in ir_measures.iter_calc(list(theirs.values()), qrels, run):
        name = named[str(entry.measure)]
        row = int(entry.query_id)
        # sizes are at most k here, so both divide AP by the targets
        assert AT_K[name](ranks, k)[row] == pytest.approx(entry.value, abs=1e-9), name
        compared += 1
    assert compared == len(theirs) * len(lists)


def test_dropping_cold_targets_shrinks_sets_and_removes_empty_requests() -> None:
    ranks = ranks_of([([3, 2, 1], [0], 1), ([1, 2], [], 2), ([1, 2, 3], [0, 1], 0)])
    warm, kept = ranks.without_cold()
    assert kept.tolist() == [True, False, True]
    assert warm.size.tolist() == [1, 2]
    assert warm.request.tolist() == [0, 1, 1]
    assert AT_K["recall"](warm, 1).tolist() == [1, 0]
    assert AT_K["recall"](ranks, 1).tolist() == [0.5, 0, 0]
