"""Time: how it is written, and what a watch tells a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from search_helpers import FakeClock

from onward.errors import ConfigError
from onward.search.budget import Budget, parse_duration, say_duration
from onward.search.trial_watch import OutOfTime, TrialWatch


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


def watched(clock: FakeClock, deadline: float = math.inf, **given: Any) -> TrialWatch:
    return TrialWatch(clock, deadline, False, lambda done, value: None, **given)


class Run:
    """A training that is watched: 100 updates of 0.1 s an epoch, and a validation after each."""

    def __init__(self, watch: TrialWatch, clock: FakeClock, seconds: float = 0.1) -> None:
        self.watch, self.clock, self.seconds = watch, clock, seconds
        self.step, self.last, self.decay_from = 0, 10_000, math.inf

    def to(self, epoch: float, value: Callable[[float], float] = lambda epoch: epoch) -> float:
        """Train up to an epoch, or until it is ended; the epochs done."""
        while self.step < 100 * min(epoch, self.last):
            self.step += 1
            self.clock.now += self.seconds
            if self.watch.stepped(self.step, 100):
                break
            if self.last == 10_000 and (last := self.watch.last_epoch(self.step, 100)) is not None:
                self.last, self.decay_from = last, self.step / 100
            if self.step % 100 == 0:
                self.watch.validated(self.step / 100, value(self.step / 100))
        return self.step / 100


def test_the_decay_is_the_last_quarter_of_the_time_and_ends_with_an_epoch() -> None:
    clock = FakeClock()
    run = Run(watched(clock, 1000 + 205), clock)
    assert run.to(100) == 20
    assert run.decay_from == pytest.approx(0.75 * 20.5, abs=0.02)
    assert not run.watch.ended
    assert clock.now <= 1000 + 205


def test_a_training_that_slows_down_decays_sooner_and_still_ends_in_time() -> None:
    clock = FakeClock()
    run = Run(watched(clock, 1000 + 205), clock)
    run.to(8)
    run.seconds = 0.2  # what is left holds six epochs
    assert run.to(100) in (13, 14)
    assert clock.now <= 1000 + 205 + 0.2
    assert run.decay_from < 12  # not at 15


def test_what_no_longer_improves_decays_though_there_is_time() -> None:
    clock = FakeClock()
    run = Run(watched(clock), clock)
    run.to(1000, lambda epoch: -abs(epoch - 10.0))  # at its best after 10 epochs, and then it overfits
    assert run.decay_from == pytest.approx(15, abs=0.02)  # 11 to 15 are no better than 6 to 10
    assert run.step / 100 == 15 / 0.75


def test_noise_around_a_rise_is_not_the_end_of_it() -> None:
    clock = FakeClock()
    run = Run(watched(clock), clock)
    assert run.to(40, lambda epoch: epoch + 6 * (epoch % 7 == 0)) == 40  # seven epochs without a new best
    assert run.decay_from == math.inf


def test_where_lower_is_better_falling_values_are_waited_for() -> None:
    clock = FakeClock()
    watch = TrialWatch(clock, math.inf, True, lambda done, value: None)
    run = Run(watch, clock)
    assert run.to(30, lambda epoch: 1 / epoch) == 30
    assert run.decay_from == math.inf


def test_a_share_ends_with_a_pause_and_without_a_decay() -> None:
    clock = FakeClock()
    run = Run(watched(clock, 1000 + 60, pause=1000 + 45), clock)
    assert run.to(100) == pytest.approx(4.5, abs=0.02)
    assert (run.watch.paused, run.watch.ended, run.decay_from) == (True, True, math.inf)
    slow = Run(watched(clock, pause=clock.now + 1), clock)
    assert slow.to(100) == pytest.approx(
        1.0, abs=0.02
    )  # after its first validation, so that there is something to go by


def test_at_the_deadline_it_ends_with_what_it_has_or_without_anything() -> None:
    clock = FakeClock()
    run = Run(watched(clock, 1000 + 15), clock)
    run.to(1)
    run.seconds = 1.0  # far slower than it was
    assert run.to(100) == pytest.approx(1.05, abs=0.02)
    assert (run.watch.ended, run.watch.paused) == (True, False)
    other = watched(clock, clock.now + 5)
    with pytest.raises(OutOfTime):
        Run(other, clock, 0.1).to(100)
    assert not other.ended
