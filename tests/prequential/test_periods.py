"""Where periods begin, and which model answers in which."""

from __future__ import annotations

import numpy as np
import pytest

from onward.errors import ConfigError
from onward.prequential.periods import cut_periods
from onward.prequential.policies import ModelKey, delays, parse_policies, reference

DAY = 86_400 * 10**6


def test_days_begin_with_the_first_event_and_one_without_events_joins_the_one_before() -> None:
    times = np.array([100, 100 + DAY - 1, 100 + DAY, 100 + 3 * DAY + 7])
    assert cut_periods(times, "1d") == (100, 100 + DAY, 100 + 3 * DAY, 100 + 3 * DAY + 8)
    assert cut_periods(times, "24h") == cut_periods(times, "1d")
    assert cut_periods(times, "2d") == (100, 100 + 2 * DAY, 100 + 3 * DAY + 8)


def test_numbers_of_events_keep_equal_times_together() -> None:
    times = np.array([5, 1, 2, 2, 2, 3, 4, 6])
    assert cut_periods(times, "3") == (1, 2, 5, 7)  # the second would begin within the twos, so it begins with them
    assert cut_periods(np.arange(10), "4") == (0, 4, 8, 10)
    assert cut_periods(np.arange(9), "4") == (0, 4, 9)  # one event is less than half a period
    assert cut_periods(np.arange(1000), None) == (*range(0, 1000, 100), 1000)


@pytest.mark.parametrize("every", ["1y", "0", "0d", "-3", "", "1.5", "d"])
def test_other_lengths_are_refused(every: str) -> None:
    with pytest.raises(ConfigError, match="neither a time nor a number"):
        cut_periods(np.arange(10), every)


def test_one_period_is_no_walk() -> None:
    with pytest.raises(ConfigError, match="one period alone"):
        cut_periods(np.arange(10), "1d")


def test_which_model_answers() -> None:
    never, full, third = parse_policies(["never", "full", "full:3"])
    assert [never.model(period).period for period in range(7)] == [0] * 7
    assert [full.model(period).period for period in range(4)] == [0, 1, 2, 3]
    assert [third.model(period).period for period in range(7)] == [0, 0, 0, 3, 3, 3, 6]
    assert len({policy.model(0) for policy in (never, full, third)}) == 1
    assert third.model(6) == full.model(6) == ModelKey("full", 6)
    assert reference([never, third, full]) is full
    assert reference([third, never]) is third
    assert delays([never, full], 9) == [1, 2, 4, 8]
    assert delays([never, full], 8) == [1, 2, 4]
    assert delays([never, third], 9) == []


@pytest.mark.parametrize("names", [["always"], ["never:2"], ["full:0"], ["full", "full:1"], ["full", "full"], []])
def test_policies_that_are_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"policies|policy"):
        parse_policies(names)
