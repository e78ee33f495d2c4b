"""Targets of one action and what actions weigh: in splits, in training batches, in evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onward.config import SplitConfig, TrainConfig
from onward.data.batches import Steps
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.data.split import split
from onward.data.targets import with_action_weights, with_targets
from onward.errors import ConfigError, DataError
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.train.augmentation import check_augmentation

ACTIONS = ["view", "cart", "buy"]
VIEW, CART, BUY = 0, 1, 2


def _data(grouped: bool = False) -> Histories:
    """Two users; the second buys once."""
    columns = {
        "item": np.array([1, 2, 2, 3, 4, 4, 5, 6, 7, 7, 8], np.int32),
        "action": np.array([VIEW, VIEW, BUY, VIEW, CART, BUY, BUY, VIEW, VIEW, BUY, VIEW], np.uint8),
        "time": np.arange(11, dtype=np.int64) * 10,
    }
    if grouped:
        columns["group"] = np.array([0, 1, 1, 2, 3, 3, 4, 5, 6, 6, 7], np.int32)
        columns["time"] = columns["group"].astype(np.int64) * 10
    return Histories(columns, np.array([0, 7]), np.array([7, 11]), 9)


def _targets(data: Histories, action: str | None, protocol: str, part: str = "test", **more: object) -> list:
    made = split(data, SplitConfig.parse({"protocol": protocol, "target_action": action, **more}), ACTIONS)
    asked = getattr(made, part)
    row, position = asked.targets(data)
    return [
        (int(asked.user[r]), int(data.item[p]), int(data.columns["action"][p]))
        for r, p in zip(row, position, strict=True)
    ]


def test_last_takes_the_newest_events_of_the_action() -> None:
    data = _data()
    assert _targets(data, None, "last") == [(0, 5, BUY), (1, 8, VIEW)]
    assert _targets(data, "buy", "last") == [(0, 5, BUY)]  # the second user bought once
    assert _targets(data, "buy", "last", "valid") == [(0, 4, BUY)]


def test_last_trains_on_nothing_past_the_validation_target_and_hides_nothing_else() -> None:
    data = _data()
    made = split(data, SplitConfig(protocol="last", target_action="buy"), ACTIONS)
    assert made.train_end.tolist() == [5, 11]
    assert data.item[made.test.history_start[0] : made.test.history_end[0]].tolist() == [1, 2, 2, 3, 4, 4]
    assert made.too_short == 1


@pytest.mark.parametrize("grouped", [False, True])
def test_time_asks_for_events_of_the_action_alone(grouped: bool) -> None:
    data = _data(grouped)
    cuts = {"valid_from": 10, "test_from": 25 if grouped else 45}
    assert _targets(data, "buy", "time", **cuts) == [(0, 4, BUY), (0, 5, BUY), (1, 7, BUY)]
    made = split(data, SplitConfig(protocol="time", target_action="buy", **cuts), ACTIONS)
    # of a basket no member is history: neither the cart before the second purchase nor the view before the last
    assert made.test.history_end.tolist() == ([4, 6, 8] if grouped else [5, 6, 9])
    kept = made.test.select(np.array([2]))
    assert kept.target_action == BUY


@pytest.mark.parametrize("protocol", ["last", "time", "users"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_requests_of_all_actions_together_are_those_without_a_choice(protocol: str, part: str) -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 30, 80)
    end = np.cumsum(lengths)
    n = int(end[-1])
    columns = {
        "item": rng.integers(1, 10, n).astype(np.int32),
        "action": rng.integers(0, 3, n).astype(np.uint8),
        "time": np.sort(rng.integers(0, 10**6, n)),
    }
    data = Histories(columns, end - lengths, end, 9)
    every = _targets(data, None, protocol, part)
    if protocol == "last":
        chosen = {action: _targets(data, action, protocol, part) for action in ACTIONS}
        assert all(len({user for user, *_ in found}) == len(found) for found in chosen.values())
        assert all(code == ACTIONS.index(name) for name, found in chosen.items() for *_, code in found)
    else:
        found = [target for action in ACTIONS for target in _targets(data, action, protocol, part)]
        assert sorted(found) == sorted(every)


def test_an_unknown_action_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown action 'purchase'; known: buy, cart, view \(at split\.target_action"
    ):
        split(_data(), SplitConfig(target_action="purchase"), ACTIONS)
    with pytest.raises(ConfigError, match="names the action 'buy', and this data set has no actions"):
        split(_data(), SplitConfig(target_action="buy"))
    with pytest.raises(ConfigError, match=r"unknown action 'bay'; did you mean 'buy'.*at train\.action_weights"):
        with_action_weights(_data(), ACTIONS, {"bay": 2.0})
    with pytest.raises(ConfigError, match="action_weights"):
        TrainConfig.parse({"action_weights": {"buy": 0}}, "train")


def test_an_action_that_nobody_repeats_has_nothing_to_predict() -> None:
    with pytest.raises(ConfigError, match="no event of the action 'cart' is left to predict in the test part"):
        split(_data(), SplitConfig(target_action="cart", valid_from=10, test_from=60), ACTIONS)
    with pytest.raises(DataError, match="two of them of the action 'cart'"):
        split(_data(), SplitConfig(protocol="last", target_action="cart"), ACTIONS)


@pytest.mark.parametrize("grouped", [False, True])
def test_batches_read_all_actions_and_predict_the_chosen_one(grouped: bool) -> None:
    data = with_targets(_data(grouped), BUY)
    steps = Steps(data)
    batch = steps.train(steps.start, steps.end - 1)
    whole = Steps(_data(grouped))
    assert batch.items.tolist() == whole.train(whole.start, whole.end - 1).items.tolist()
    assert batch.targets.tolist() == [2, 4, 5, 7]
    # the step before each: positions, or baskets
    assert batch.target_steps.tolist() == ([0, 2, 3, 4] if grouped else [1, 4, 5, 7])
    assert batch.target_weights.tolist() == [1, 1, 1, 1]


def test_weights_multiply_the_share_of_each_target() -> None:
    data = with_action_weights(_data(grouped=True), ACTIONS, {"buy": 5.0})
    steps = Steps(data)
    batch = steps.train(steps.start, steps.end - 1)
    assert batch.targets.tolist() == [2, 2, 3, 4, 4, 5, 7, 7, 8]
    assert batch.target_weights.tolist() == [0.5, 2.5, 1, 0.5, 2.5, 5, 0.5, 2.5, 1]
    both = with_action_weights(with_targets(_data(), BUY), ACTIONS, {"buy": 5.0, "view": 3.0})
    assert set(both.columns["target_weight"].tolist()) == {0.0, 5.0}


@pytest.mark.parametrize("windows", ["last", "all", "prefix"])
def test_windows_without_a_target_are_left_out(windows: str) -> None:
    data = with_targets(_data(), CART)
    batches = TrainingBatches(data, 3, 100, 0, windows)  # type: ignore[arg-type]
    found = [batches.batch(part) for part in batches.epoch(0)]
    assert sum(len(batch.targets) for batch in found) == batches.n_targets
    targets = [item for batch in found for item in batch.targets.tolist()]
    assert targets == [4]  # the one cart, in whatever window it lies
    assert len(batches.first) == 1


def test_a_weight_is_a_repetition_of_its_target_in_the_loss() -> None:
    torch.manual_seed(0)
    data = _data()
    model = build(model_class("sasrec"), {"width": 4, "dropout": 0.0}, make_items(data, np.arange(10, dtype=np.int32)))
    plain, weighed = Steps(data), Steps(with_action_weights(data, ACTIONS, {"buy": 3.0}))
    every = plain.train(plain.start, plain.end - 1)
    position = np.array([1, 2, 3, 4, 5, 6, 8, 9, 10])
    times = np.where(data.columns["action"][position] == BUY, 3, 1)
    again = replace(
        every,
        targets=every.targets.repeat_interleave(torch.from_numpy(times)),
        target_steps=torch.arange(9).repeat_interleave(torch.from_numpy(times)),
        target_weights=torch.ones(int(times.sum())),
    )
    loss = model.loss(weighed.train(weighed.start, weighed.end - 1))
    torch.testing.assert_close(loss, model.loss(again))


def test_popularity_counts_the_chosen_action() -> None:
    data = with_targets(_data(), BUY)
    for name in ("popularity", "personal-frequency"):
        model = build(model_class(name), {}, make_items(data, np.arange(10, dtype=np.int32)))
        model.fit(data)
        scores = model.score_histories(Histories.from_lists([[9]], 9))[0]
        assert scores[[1, 3, 6, 8]].tolist() == [0, 0, 0, 0]
        assert (scores[[2, 4, 5, 7]] > 0).all()


def test_what_can_not_choose_its_targets_is_refused() -> None:
    data = with_targets(_data(), BUY)
    items = make_items(data, np.arange(10, dtype=np.int32))
    with pytest.raises(ConfigError, match="'bert4rec' hides events of all actions"):
        check_augmentation(build(model_class("bert4rec"), {}, items), data, TrainConfig())
    with pytest.raises(ConfigError, match="contrastive looks at events of all actions"):
        check_augmentation(build(model_class("sasrec"), {"contrastive": 0.1}, items), data, TrainConfig())
    with pytest.raises(ConfigError, match="transforms move events of any"):
        check_augmentation(build(model_class("sasrec"), {}, items), data, TrainConfig(augment=("crop",)))
