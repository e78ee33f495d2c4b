"""What fine-tuning trains on: new events with a little context, and old users drawn at random; and how often."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from onward.config import FineTuneConfig, TrainConfig
from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.data.targets import WEIGHT
from onward.errors import ConfigError
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.train.fine_tune import Amount, Tuning, tuned


def three_histories() -> Histories:
    """Users of 4, 3 and 5 events; those from 100 microseconds on are new: 1, 0 and 2."""
    time = np.array([1, 2, 3, 100, 4, 5, 6, 1, 2, 3, 101, 102], dtype=np.int64)
    end = np.array([4, 7, 12])
    return Histories({"item": np.arange(1, 13, dtype=np.int32), "time": time}, end - [4, 3, 5], end, 12)


def targets(histories: Histories) -> list[int]:
    """Positions that are targets, over all rows; a row's first event is one where it weighs something too."""
    weight = histories.columns[WEIGHT]
    return [position for position in histories.positions()[1].tolist() if weight[position] > 0]


def test_what_is_new_is_asked_for_with_what_came_shortly_before() -> None:
    data = three_histories()
    for context in (1, 2, 16):
        made = Tuning.of(data, 100, context).rows(Amount(1, 0), 0)
        assert made.start.tolist() == [max(0, 3 - context), max(7, 10 - context)]
        assert made.end.tolist() == [4, 12]
        assert targets(made) == [3, 10, 11]
    assert targets(Tuning.of(data, 100, 2).rows(Amount(3, 0), 0)) == [3, 10, 11] * 3


def test_histories_without_what_is_new_and_its_context_are_replayed() -> None:
    tuning = Tuning.of(three_histories(), 100, 1)
    assert tuning.new_events == 3
    replayed = set()
    for seed in range(20):
        made = tuning.rows(Amount(1, 1.5), seed)  # which any of them has
        assert targets(made)[:3] == [3, 10, 11]
        replayed.add((int(made.start[2]), int(made.end[2])))
        assert len(made) == 3
    assert replayed == {(0, 2), (4, 7), (7, 9)}


def test_nothing_is_replayed_twice_before_all_was_once() -> None:
    tuning = Tuning.of(three_histories(), 100, 1)
    rows = [tuning.rows(Amount(2, replayed), 3).start[4:].tolist() for replayed in (3, 6, 7, 12, 14)]
    assert (len(rows[2]), len(rows[4])) == (3, 6)  # of 7 events and twice as many
    assert sorted(rows[4][:3]) == sorted(rows[4][3:]) == [0, 4, 7]
    assert all(longer[: len(starts)] == starts for starts, longer in pairwise(rows))


def test_where_nothing_old_is_long_enough_nothing_is_replayed() -> None:
    assert len(Tuning.of(three_histories(), 2, 16).rows(Amount(1, 300), 0)) == 3


def test_events_keep_what_they_weigh() -> None:
    weighted = three_histories()
    given = np.linspace(0, 2, 12, dtype=np.float32)
    weighted = replace(weighted, columns={**weighted.columns, WEIGHT: given})
    weight = Tuning.of(weighted, 100, 1).training.columns[WEIGHT]
    is_context = np.isin(np.arange(12), [2, 9])
    assert np.allclose(weight, np.where(is_context, 0, given))


def test_nothing_new_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no training event happened since 103"):
        Tuning.of(three_histories(), 103, 16)
    timeless = three_histories()
    timeless = replace(timeless, columns={"item": timeless.item})
    with pytest.raises(ConfigError, match="without event times"):
        Tuning.of(timeless, 100, 16)


def test_settings_are_those_of_the_training_but_for_what_is_tuned() -> None:
    train = TrainConfig(epochs=40, stop_after=7.5, learning_rate=0.01, schedule="plateau", clip_norm=3.0)
    made = tuned(train, FineTuneConfig(learning_rate_share=0.1))
    assert made.batch_tokens == train.batch_tokens // 4
    assert tuned(train.model_copy(update={"batch_tokens": 16}), FineTuneConfig()).batch_tokens == 16
    assert (made.epochs, made.stop_after, made.learning_rate) == (1, None, pytest.approx(0.001))
    assert made.clip_norm == 3.0
    assert made.schedule == "constant"  # nothing validates, so no plateau would be found


def test_context_is_whole_baskets() -> None:
    data = three_histories()
    group = np.array([0, 0, 0, 1, 0, 1, 2, 0, 1, 1, 2, 3], dtype=np.int32)
    made = Tuning.of(replace(data, columns={**data.columns, "group": group}), 100, 1).rows(Amount(1, 0), 0)
    assert made.start.tolist() == [0, 8]  # the baskets before the new ones have three events and two
    steps = Steps(made)
    assert (steps.end - steps.start).tolist() == [2, 3]


def small_model(data: Histories) -> SequenceModel:
    items = make_items(data, np.arange(data.n_items + 1, dtype=np.int32))
    model = build(model_class("sasrec"), {"width": 8, "max_length": 3}, items)
    assert isinstance(model, SequenceModel)
    return model


def test_a_pass_costs_the_steps_that_it_reads_and_the_budget_says_how_many_there_are() -> None:
    data = three_histories()
    model, train = small_model(data), TrainConfig(epochs=10)
    tuning = Tuning.of(data, 100, 1)

    def within(train: TrainConfig = train, **how: float | None) -> Amount:
        return Amount.within(FineTuneConfig.parse({"most_epochs": 100, **how}), data, tuning, model, train)

    # all histories: windows of 3, 2, 3 and 1 input steps; new events with one step before them: 1 and 2
    for budget, passes in ((0.15, 4), (0.2, 6), (1.0, 30), (0.001, 1)):
        assert within(budget=budget, replay=0) == Amount(passes, 0)
    twice = train.model_copy(update={"epochs": 20})
    assert within(twice, budget=0.15, replay=0) == Amount(9, 0)
    # two replayed events for each of the three that are new
    assert within(budget=0.3, replay=2) == Amount(3, 3 * 2 * 3)
    assert within(budget=0.15, replay=2, epochs=7) == Amount(7, 7 * 2 * 3)


def test_what_the_most_passes_leave_of_the_budget_is_replayed() -> None:
    data = three_histories()
    model, train = small_model(data), TrainConfig(epochs=10)
    tuning = Tuning.of(data, 100, 1)
    for most, replay, amount in ((4, 0, Amount(4, 90 - 4 * 3)), (4, 1, Amount(4, 90 - 4 * 3)), (15, 1, Amount(15, 45))):
        how = FineTuneConfig(budget=1.0, replay=replay, most_epochs=most)
        assert Amount.within(how, data, tuning, model, train) == amount
    by_hand = FineTuneConfig(budget=1.0, replay=1, most_epochs=4, epochs=20)
    assert Amount.within(by_hand, data, tuning, model, train) == Amount(20, 60)


def test_prefixes_cost_the_rows_that_end_in_a_target() -> None:
    data = three_histories()
    model, train = small_model(data), TrainConfig(epochs=10, windows="prefix")
    tuning = Tuning.of(data, 100, 2)
    # all: 1 + 2 + 3, 1 + 2, 1 + 2 + 3 + 3, so 18 / 12 = 1.5 an event; new: 2, and 2 + 3
    for replay, most, amount in ((0, 100, Amount(12, 0)), (1, 100, Amount(7, 21)), (1, 2, Amount(2, (90 - 14) / 1.5))):
        how = FineTuneConfig(budget=0.5, replay=replay, most_epochs=most)
        assert Amount.within(how, data, tuning, model, train) == amount
