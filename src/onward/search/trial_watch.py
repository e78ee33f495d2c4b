"""What sees a trial train: it times it, pauses it, prunes it, and says when its step size begins to fall."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from onward.search.budget import Clock
from onward.train.optim import DECAY_FROM
from onward.train.watch import Ended

WINDOW = 5
"""The step size begins to fall where the mean of so many validations is no better than that of as many before: a single
best value says little where the validation part is small."""
RECENT = 3
"""Epochs, the newest, that tell how long the next ones take."""


class OutOfTime(Ended):
    """The budget ended before the first validation of a trial."""


class Pruned(Ended):
    """Other trials did better by then."""


class TrialWatch:
    """Ends a training that is pruned or that its time is up for, and fits its decay into the time that is left.

    The step size begins to fall where validation stops improving, or where what is left until the deadline is the
    decay's share of the training, whichever comes first: so a training may take whatever time there is.

    Args:
        clock: what tells the time.
        deadline: time at which it ends, with what it has by then.
        lower: whether lower values are better.
        report: told (epochs done, value) of every validation; raises what prunes.
        shown: told of epochs done, after every update.
        pause: time from which on it ends, to go on later where it is promising; its decay doesn't begin before.
        epoch_seconds: what an epoch takes, as far as it is known.
    """

    def __init__(
        self,
        clock: Clock,
        deadline: float,
        lower: bool,
        report: Callable[[float, float], None],
        shown: Callable[[float], None] = lambda done: None,
        pause: float | None = None,
        epoch_seconds: float | None = None,
    ) -> None:
        self.clock, self.deadline, self.lower, self.pause = clock, deadline, lower, pause
        self.report, self.shown, self.epoch_seconds = report, shown, epoch_seconds
        self.ended = self.paused = False
        self.validations = 0
        self.validation_seconds = 0.0
        self._last = clock()
        self._marks: deque[tuple[float, float]] = deque(maxlen=RECENT + 1)  # time, and epochs done by then
        self._values: deque[float] = deque(maxlen=2 * WINDOW)
        self.decays = False

    def stepped(self, step: int, per_epoch: int) -> bool:
        """As `Watch.stepped`. Raises OutOfTime where there is no validation yet."""
        now = self._last = self.clock()
        if not self._marks:
            self._marks.append((now, step / per_epoch))
        self.shown(step / per_epoch)
        self.paused = self.pause is not None and now >= self.pause and self.validations > 0 and not self.decays
        if now >= self.deadline and not self.validations:
            raise OutOfTime("the budget ended before the first validation")
        self.ended = self.paused or now >= self.deadline
        return self.ended

    def last_epoch(self, step: int, per_epoch: int) -> int | None:
        """As `Watch.last_epoch`."""
        if self.pause is not None or self.epoch_seconds is None:
            return None
        done = step / per_epoch
        fits = done + (self.deadline - self._last) / self.epoch_seconds
        wanted = done / DECAY_FROM if self._converged else math.inf
        if done < DECAY_FROM * min(fits, wanted):
            return None
        self.decays = True
        return max(math.floor(done) + 1, math.floor(fits) if fits < wanted else round(wanted))

    def validated(self, epochs: float, value: float) -> None:
        """As `Watch.validated`. Raises what prunes."""
        now = self.clock()
        self.validation_seconds = now - self._last
        self.validations += 1
        self._marks.append((now, epochs))
        (since, before), (until, after) = self._marks[0], self._marks[-1]
        if after > before:
            self.epoch_seconds = (until - since) / (after - before)
        self._values.append(-value if self.lower else value)
        self.report(epochs, value)

    @property
    def _converged(self) -> bool:
        """Whether validation no longer improves."""
        values = list(self._values)
        return len(values) == 2 * WINDOW and sum(values[WINDOW:]) <= sum(values[:WINDOW])
