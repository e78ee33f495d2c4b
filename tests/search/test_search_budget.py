"""Time: how it is written, how many epochs fit, and what a watched training is told."""

from __future__ import annotations

import pytest
from search_helpers import FakeClock

from onward.errors import ConfigError
from onward.search.budget import EPOCHS_MOST, Budget, fitting_epochs, parse_duration, say_duration
from onward.search.trial import OutOfTime, Repace, TrialWatch


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800), (" 2M ", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "1d", "30m later", "-5m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_duration(text)


def test_durations_for_people() -> None:
    assert [say_duration(seconds) for seconds in (-1, 45, 119.6, 1800, 5400)] == ["0s", "45s", "2m", "30m", "1h30m"]


def test_what_earlier_sessions_took_counts() -> None:
    clock = FakeClock()
    budget = Budget(100, 300, clock)
    assert (budget.left, budget.used) == (100, 0.75)
    clock.now += 50
    assert (budget.left, budget.elapsed, budget.used) == (50, 50, 0.875)


def test_fitting_epochs() -> None:
    assert [fitting_epochs(seconds, 2.0) for seconds in (5.9, 6.0, 21, 1e9)] == [0, 3, 10, EPOCHS_MOST]


def watched(clock: FakeClock, allowed: float, epochs: int, deadline: float = 1e9, repace: bool = True) -> TrialWatch:
    return TrialWatch(clock, deadline, allowed, epochs, lambda done, value: None, repace=repace)


def steps(watch: TrialWatch, clock: FakeClock, count: int, seconds: float, per_epoch: int = 100) -> int:
    """So many updates; gives the step at which it was told to end, 0 for none."""
    for step in range(1, count + 1):
        clock.now += seconds
        if watch.stepped(step, per_epoch):
            return step
    return 0


def test_the_pace_is_known_after_two_seconds() -> None:
    clock = FakeClock()
    with pytest.raises(Repace) as news:
        steps(watched(clock, 100, 0), clock, 1000, 0.1)
    assert news.value.epoch_seconds == pytest.approx(10)
    assert clock.now == pytest.approx(1000 + 3.0)  # ten steps of warming up, then two seconds


@pytest.mark.parametrize(("allowed", "again"), [(105, False), (85, False), (74, True), (145, False), (165, True)])
def test_a_plan_that_does_not_fit_is_made_again(allowed: float, again: bool) -> None:
    clock = FakeClock()
    watch = watched(clock, allowed, 10)
    if again:
        with pytest.raises(Repace):
            steps(watch, clock, 200, 0.1)
    else:
        assert steps(watch, clock, 200, 0.1) == 0


def test_at_the_deadline_it_ends_with_what_it_has_or_without_anything() -> None:
    clock = FakeClock()
    watch = watched(clock, 1e9, 10, deadline=1000 + 15, repace=False)
    assert steps(watch, clock, 100, 0.1) == 0
    watch.validated(1.0, 0.5)
    assert steps(watch, clock, 100, 0.1) == 50
    assert watch.ended
    other = watched(clock, 1e9, 10, deadline=clock.now + 5, repace=False)
    with pytest.raises(OutOfTime):
        steps(other, clock, 100, 0.1)
    assert not other.ended
