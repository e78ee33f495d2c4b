"""The learning rate range test: geometric steps, a suggestion below the lowest loss, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from onward.config import RunConfig
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.errors import ConfigError
from onward.train.range_test import BELOW_LOWEST, HIGHEST, LOWEST, STEPS, RangeTest, range_test
from onward.train.resolve import resolve


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    events = chain_events(users=60, items=20, length=12, noise=0.1, seed=0)
    return prepare(events, tmp_path_factory.mktemp("chain") / "dataset")


def _config(data: Dataset, model: str = "gru", **train: object) -> RunConfig:
    values = {
        "train": {"batch_tokens": 64, **train},
        "model": {"width": 16, "max_length": 10} if model == "gru" else {},
    }
    return resolve(data, values, model, "last", None, 0)


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    test = RangeTest([0.001, 0.01, 0.1, 1.0], [3.0, 2.0, 1.5, 4.0], 2.0)
    assert test.suggestion == pytest.approx(0.1 / BELOW_LOWEST)
    assert RangeTest([0.001, 0.01], [3.0, 2.0], 2.0, whole=False).suggestion is None


def test_steps_grow_geometrically_and_the_loss_falls_before_it_grows(data: Dataset) -> None:
    test = range_test(data, _config(data))
    ratio = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))
    assert test.rates[0] == pytest.approx(LOWEST)
    assert np.allclose(np.diff(np.log(test.rates)), np.log(ratio))
    assert min(test.losses) < 0.9 * test.losses[0]
    assert test.losses[-1] > min(test.losses)
    assert test.suggestion is not None
    assert LOWEST < test.suggestion < HIGHEST / BELOW_LOWEST
    assert test.epoch_seconds > 0


def test_it_is_a_pure_function_of_configuration_and_data(data: Dataset) -> None:
    one, same = range_test(data, _config(data)), range_test(data, _config(data))
    assert (one.rates, one.losses) == (same.rates, same.losses)
    other = range_test(data, _config(data).model_copy(update={"seed": 1}))
    assert other.losses != one.losses


def test_without_the_time_for_it_there_is_a_pace_and_no_suggestion(data: Dataset) -> None:
    test = range_test(data, _config(data), seconds=0.0)
    assert len(test.rates) < STEPS
    assert test.suggestion is None
    assert test.epoch_seconds > 0


def test_a_model_that_is_fitted_in_one_call_has_no_step_size(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="fitted in one call"):
        range_test(data, _config(data, "markov"))
