"""Batches: every target once, nothing of the future, groups as one step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories

HISTORIES = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=8)


def epoch_of(batches: TrainingBatches, epoch: int, skip: int = 0) -> Iterator[Batch]:
    return map(batches.batch, batches.epoch(epoch, skip))


def _pairs(batch) -> list[tuple[list[int], int]]:
    """(input so far, target) of every target, by a plain loop."""
    items, ends = batch.items.numpy(), np.cumsum(batch.lengths.numpy())
    starts = ends - batch.lengths.numpy()
    pairs = []
    steps = range(len(items)) if batch.target_steps is None else batch.target_steps.tolist()
    for target, step in zip(batch.targets.tolist(), steps, strict=True):
        row = np.searchsorted(ends, step, side="right")
        pairs.append((items[starts[row] : step + 1].tolist(), target))
    return pairs


@given(HISTORIES, st.integers(1, 6), st.integers(1, 20), st.integers(0, 3), st.sampled_from(["last", "all"]))
def test_an_epoch_holds_every_next_event_once_after_its_own_past(lists, max_length, tokens, epoch, windows) -> None:
    histories = Histories.from_lists(lists, 9)
    batches = TrainingBatches(histories, max_length, tokens, seed=5, windows=windows)
    found = [pair for batch in epoch_of(batches, epoch) for pair in _pairs(batch)]
    wanted = []
    for items in lists:
        newest_first = range(len(items) - 1, 0, -max_length)
        for last in newest_first if windows == "all" else newest_first[:1]:
            first = max(0, last - max_length)
            wanted += [(items[first : place + 1], items[place + 1]) for place in range(first, last)]
    assert sorted(found) == sorted(wanted)
    assert batches.n_targets == len(wanted)


@given(HISTORIES, st.integers(1, 6), st.integers(1, 20), st.integers(0, 3))
def test_prefix_windows_give_every_event_a_row_that_ends_before_it(lists, max_length, tokens, epoch) -> None:
    histories = Histories.from_lists(lists, 9)
    batches = TrainingBatches(histories, max_length, tokens, seed=5, windows="prefix")
    found = []
    for batch in epoch_of(batches, epoch):
        rows = np.split(batch.items.numpy(), np.cumsum(batch.lengths.numpy()))[:-1]
        assert batch.target_steps.tolist() == (batch.lengths.cumsum(0) - 1).tolist()
        found += [(row.tolist(), target) for row, target in zip(rows, batch.targets.tolist(), strict=True)]
    wanted = [(items[max(0, n - max_length) : n], items[n]) for items in lists for n in range(1, len(items))]
    assert sorted(found) == sorted(wanted)
    assert batches.n_targets == len(wanted)


def test_epochs_differ_and_repeat_by_seed() -> None:
    rng = np.random.default_rng(0)
    histories = Histories.from_lists([rng.integers(1, 50, rng.integers(2, 30)).tolist() for _ in range(200)], 50)

    def order(seed: int, epoch: int) -> list[int]:
        return [
            item for batch in epoch_of(TrainingBatches(histories, 20, 64, seed), epoch) for item in batch.items.tolist()
        ]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_skipping_batches_gives_the_rest_of_the_same_epoch() -> None:
    histories = Histories.from_lists([[1, 2, 3, 4]] * 40, 4)
    batches = TrainingBatches(histories, 10, 12, seed=0)
    whole = [batch.items.tolist() for batch in epoch_of(batches, 2)]
    assert [batch.items.tolist() for batch in epoch_of(batches, 2, skip=3)] == whole[3:]
    assert len(whole) == len(batches)


def test_the_budget_of_tokens_is_kept() -> None:
    histories = Histories.from_lists([[1] * length for length in range(2, 60)], 1)
    sizes = [int(batch.lengths.sum()) for batch in epoch_of(TrainingBatches(histories, 30, 100, seed=0), 0)]
    assert max(sizes) <= 100 + 30


def test_a_group_is_one_step_and_its_targets_are_a_set() -> None:
    columns = {
        "item": np.array([1, 2, 3, 4, 5, 6, 7], np.int32),
        "group": np.array([0, 0, 1, 2, 2, 0, 1], np.int32),
        "value": np.array([1, 3, 5, 7, 9, 0, 2], np.float32),
    }
    histories = Histories(columns, np.array([0, 5]), np.array([5, 7]), 7)
    steps = Steps(histories)
    batch = steps.train(steps.start, steps.end - 1)
    assert batch.lengths.tolist() == [2, 1]
    assert batch.items.tolist() == [1, 2, 3, 6]
    assert batch.bags.tolist() == [0, 2, 3]
    assert batch.values.tolist() == [2, 5, 0]
    assert list(zip(batch.target_steps.tolist(), batch.targets.tolist(), strict=True)) == [
        (0, 3),
        (1, 4),
        (1, 5),
        (2, 7),
    ]
    assert batch.target_weights.tolist() == [1, 0.5, 0.5, 1]
    assert batch.target_values.tolist() == [5, 7, 9, 2]
    prefix = steps.train(steps.start, steps.end - 1, prefix=True)
    assert prefix.items.tolist() == batch.items.tolist()
    assert list(zip(prefix.target_steps.tolist(), prefix.targets.tolist(), strict=True)) == [(1, 4), (1, 5), (2, 7)]
    assert prefix.target_weights.tolist() == [0.5, 0.5, 1]
    asked, owners = prefix.asked()
    assert asked is not None
    assert owners is not None
    assert (asked.tolist(), owners.tolist()) == ([1, 2], [0, 0, 1])


@pytest.mark.parametrize("grouped", [False, True])
def test_times_are_those_of_the_steps_and_requests_come_with_the_next(grouped: bool) -> None:
    columns = {"item": np.arange(1, 8, dtype=np.int32), "time": np.array([10, 11, 15, 15, 18, 2, 7])}
    if grouped:
        columns["group"] = np.array([0, 0, 1, 1, 2, 3, 4], np.int32)
    histories = Histories(columns, np.array([0, 5]), np.array([5, 7]), 7)
    told, untold = Steps(histories, "target"), Steps(histories)
    batch = told.train(told.start, told.end - 1)
    times, following = ([10, 15, 2], [15, 18, 7]) if grouped else ([10, 11, 15, 15, 2], [11, 15, 15, 18, 7])
    assert batch.times.tolist() == times
    assert batch.request_times.tolist() == following
    assert untold.train(told.start, told.end - 1).request_times is None
    prefix = told.train(told.end - 2, told.end - 1, prefix=True)
    assert prefix.request_times.tolist() == [18, 7]
    asked = untold.encode(told.start, told.end, np.array([20, 9]))
    assert asked.times.tolist() == ([10, 15, 18, 2, 7] if grouped else columns["time"].tolist())
    assert asked.request_times.tolist() == ([15, 18, 20, 7, 9] if grouped else [11, 15, 15, 18, 20, 7, 9])


def test_histories_without_times_make_batches_without() -> None:
    steps = Steps(Histories.from_lists([[1, 2]], 2), "target")
    batch = steps.encode(steps.start, steps.end, np.array([5]))
    assert batch.times is None
    assert batch.request_times is None


def test_users_with_one_event_give_nothing_to_learn() -> None:
    batches = TrainingBatches(Histories.from_lists([[1], [], [2]], 2), 5, 10, seed=0)
    assert batches.n_targets == 0
