"""Exact ranks: against sorting by hand, and against the lists that `recommend` gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from evaluation_helpers import table_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onward.config import SplitConfig
from onward.data.sequences import Histories
from onward.data.split import split
from onward.errors import DataError
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import Ranks, _count, count_sorted, rank_targets

V = 8


@st.composite
def logs(draw: Callable) -> Histories:
    users = st.lists(st.integers(1, V), min_size=1, max_size=7)
    data = Histories.from_lists(draw(st.lists(users, min_size=2, max_size=8)), V)
    columns = dict(data.columns)
    if draw(st.booleans()):
        # pairs of neighbours of one user are a group
        rows, positions = data.positions()
        columns["group"] = np.unique(rows * 100 + (positions - data.start[rows]) // 2, return_inverse=True)[1]
    return Histories(columns, data.start, data.end, V)


def slow_ranks(model, data: Histories, part, seen: str) -> list[tuple[int, int, int, int, str]]:
    """(request, item, above, tied, reason for a miss) of each target, one by one."""
    found = []
    for row in range(len(part)):
        history = data.item[part.history_start[row] : part.history_end[row]].tolist()
        if any(model.items.train_counts[item] > 0 for item in history):
            scores = model.table[history[-1]].tolist()
        else:
            scores = np.log1p(model.items.train_counts).astype(np.float32).tolist()
        allowed = {i for i in range(1, V + 1) if model.items.train_counts[i] > 0 and np.isfinite(scores[i])}
        if seen == "exclude":
            allowed -= set(history)
        for item in sorted(set(data.item[part.target_start[row] : part.target_end[row]].tolist())):
            reason = ""
            if model.items.train_counts[item] == 0:
                reason = "cold"
            elif seen == "exclude" and item in history:
                reason = "seen"
            ok = item in allowed
            above = sum(scores[i] > scores[item] for i in allowed) if ok else 0
            tied = sum(scores[i] == scores[item] for i in allowed) if ok else 0
            found.append((row, item, above, tied, reason))
    return found


def as_rows(ranks: Ranks) -> list[tuple[int, int, int, int, str]]:
    reasons = ["cold" if c else "seen" if s else "" for c, s in zip(ranks.cold, ranks.seen, strict=True)]
    rows = zip(ranks.request, ranks.item, ranks.above, ranks.tied, strict=True)
    return [(int(r), int(i), int(a), int(t), reason) for (r, i, a, t), reason in zip(rows, reasons, strict=True)]


@given(
    logs(), st.sampled_from(["last", "users"]), st.sampled_from(["exclude", "include"]), st.integers(0, 5), st.data()
)
@settings(deadline=None, max_examples=150)
def test_ranks_are_as_counted_by_hand(data: Histories, protocol: str, seen: str, seed: int, draw) -> None:
    try:
        divided = split(data, SplitConfig(protocol=protocol, valid_share=0.3, test_share=0.4))
    except DataError:
        assume(False)
    table = np.random.default_rng(seed).integers(0, 4, (V + 1, V + 1)).astype(np.float32)
    table[table == 3] = -np.inf if draw.draw(st.booleans()) else 3
    model = table_model(divided.training(data), table)
    chunk = draw.draw(st.sampled_from([1, 3 * (V + 1), 16_000_000]))
    with pytest.MonkeyPatch.context() as patch:
        # small chunks must not change anything
        patch.setattr(importlib.import_module("onward.models.top_k"), "CHUNK_SCORES", chunk)
        patch.setattr(importlib.import_module("onward.evaluate.ranking"), "_BLOCK", chunk // 2)
        ranks = rank_targets(model, data, divided.test, seen)
    assert as_rows(ranks) == slow_ranks(model, data, divided.test, seen)
    assert ranks.size.tolist() == np.bincount(ranks.request, minlength=len(divided.test)).tolist()


def test_a_repeated_item_in_a_group_is_one_target() -> None:
    data = Histories.from_lists([[1, 2, 3, 4, 4, 5]] * 3, 5)
    data = Histories(
        {**data.columns, "group": np.array([0, 1, 2, 3, 3, 3] * 3) + np.repeat([0, 4, 8], 6)}, data.start, data.end, 5
    )
    divided = split(data, SplitConfig(protocol="last"))
    ranks = rank_targets(table_model(divided.training(data)), data, divided.test, "include")
    assert ranks.size.tolist() == [2, 2, 2]
    assert ranks.item.tolist() == [4, 5] * 3
    assert ranks.cold.all()


@given(st.integers(0, 20), st.sampled_from(["exclude", "include"]))
@settings(deadline=None, max_examples=20)
def test_recommend_agrees_with_evaluate(seed: int, seen: str) -> None:
    """The place of the target in the list lies within its tie, and the mean over places comes to the metric."""
    generator = np.random.default_rng(seed)
    data = Histories.from_lists([generator.integers(1, 31, 12).tolist() for _ in range(40)], 30)
    divided = split(data, SplitConfig(protocol="last"))
    model = table_model(divided.training(data), generator.integers(0, 12, (31, 31)))
    ranks = rank_targets(model, data, divided.test, seen)
    lists = model.recommend(divided.test.requests(data), k=30, seen=seen)
    assert len(ranks.request) == len(ranks)
    for row, item in enumerate(ranks.item):
        place = np.flatnonzero(lists.items[row] == item)
        if ranks.tied[row] == 0:
            assert len(place) == 0
        else:
            assert ranks.above[row] < place[0] + 1 <= ranks.above[row] + ranks.tied[row]


def test_a_request_time_reaches_the_model_under_time_only() -> None:
    told = []

    class Listening(type(table_model(Histories.from_lists([[1]], 1)))):
        def score_histories(self, histories):
            told.append(histories.at)
            return super().score_histories(histories)

    data = Histories.from_lists([[1, 2, 3, 4, 5]] * 4, 5)
    data = Histories({**data.columns, "time": np.tile(np.arange(5), 4)}, data.start, data.end, 5)
    for protocol in ("last", "time"):
        divided = split(data, SplitConfig(protocol=protocol, valid_share=0.2, test_share=0.2))
        model = table_model(divided.training(data))
        model.__class__ = Listening
        rank_targets(model, data, divided.test, "include")
    assert told[0] is None
    assert told[1].tolist() == [4, 4, 4, 4]


def test_items_past_the_catalog_are_skipped_in_histories_and_cold_as_targets() -> None:
    training = Histories.from_lists([[1, 2, 3]], 3)
    model = table_model(training, np.arange(16).reshape(4, 4))
    data = Histories.from_lists([[1, 5, 4, 2], [1, 2, 3, 5], [4, 5, 5, 1]], 5)
    part = split(data, SplitConfig(protocol="last")).test
    ranks = rank_targets(model, data, part, "exclude")
    # 1: history 1, then items 2, 3 are left and 3 is above; 2: cold; 3: empty history, three equally popular items
    assert as_rows(ranks) == [(0, 2, 1, 1, ""), (1, 5, 0, 0, "cold"), (2, 1, 0, 3, "")]


def test_progress_is_told_and_scores_are_handed_on() -> None:
    data = Histories.from_lists([[1, 2, 3]] * 5, 3)
    part = split(data, SplitConfig(protocol="last")).test
    calls, seen_scores = [], []
    model = table_model(Histories.from_lists([[1, 2, 3]], 3), np.arange(16).reshape(4, 4))
    rank_targets(
        model, data, part, "exclude", progress=lambda *c: calls.append(c), on_scores=lambda r, s: seen_scores.append(s)
    )
    assert calls == [(5, 5)]
    assert seen_scores[0].tolist() == [[-np.inf, -np.inf, -np.inf, 11]] * 5


def test_an_empty_part_has_no_ranks() -> None:
    data = Histories.from_lists([[1, 2, 3]] * 5, 3)
    empty = split(data, SplitConfig(protocol="all")).test
    ranks = rank_targets(table_model(data), data, empty, "exclude")
    assert len(ranks) == 0
    assert all(len(values) == 0 for values in request_metrics(ranks, [10]).values())


@pytest.mark.parametrize("seed", range(5))
def test_counting_by_sorting_is_counting_one_by_one(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-3, 4, (6, 11), generator=generator).float()  # many ties
    scores[torch.rand(6, 11, generator=generator) < 0.2] = -torch.inf
    targets = torch.full((6, 4), torch.inf)
    size = np.array([4, 4, 2, 1, 1, 0])
    for row, count in enumerate(size):
        targets[row, :count] = scores[row, torch.randperm(11, generator=generator)[:count]]
    for found, wanted in zip(count_sorted(scores, targets), _count(scores, targets, size), strict=True):
        for row, count in enumerate(size):
            assert found[row, :count].tolist() == wanted[row, :count].tolist()
