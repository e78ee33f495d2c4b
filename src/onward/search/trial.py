"""One trial: a training with the trial's settings, watched so that it ends early where it is not worth its time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from onward.config import SplitConfig
from onward.data.dataset import Dataset
from onward.models.registry import model_class
from onward.search.budget import Clock, fitting_epochs
from onward.space import Value
from onward.train.run import train
from onward.train.watch import Ended, Watch

PROBE_SECONDS, PROBE_STEPS = 2.0, 10
"""A training's speed is known after that many seconds, from that step on."""
SHRINK, GROW = 0.75, 1.5
"""A training is begun again with another number of epochs where less, or more, than this share of the plan fits."""


class Repace(Ended):
    """An epoch takes another time than was planned for, so that the number of epochs should be another.

    Attributes:
        epoch_seconds: what it takes.
    """

    def __init__(self, epoch_seconds: float) -> None:
        super().__init__(f"an epoch takes {epoch_seconds:.2f} s")
        self.epoch_seconds = epoch_seconds


class OutOfTime(Ended):
    """The budget ended before the first validation of a trial."""


class Pruned(Ended):
    """Other trials did better by then."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        value: the monitored metric on the validation part, of the weights that were kept.
        fit_seconds: time that the model took to learn.
    """

    value: float
    fit_seconds: float


class Objective(Protocol):
    """What is searched for the best settings of."""

    def __call__(self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch) -> Outcome:
        """Train a model with these settings (`model.width` style) into a folder."""


class TrainObjective:
    """Trainings on a dataset.

    Args:
        settings: `key=value` settings of every trial; they go over those of the trial.
        monitor: metric of the validation part.
    """

    def __init__(
        self, data: Dataset, split: SplitConfig, seed: int, settings: Sequence[str], monitor: str, patience: int
    ) -> None:
        self.data, self.split, self.seed, self.settings = data, split, seed, settings
        self.monitor, self.patience = monitor, patience

    def __call__(self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch) -> Outcome:
        """As `Objective`. Raises what a training raises, and KeyError where the model has no such metric."""
        split = {f"split.{name}": value for name, value in self.split.model_dump(exclude_none=True).items()}
        merged: dict[str, Value] = {**split, "train.patience": self.patience, **settings}
        done = train(
            self.data,
            model,
            folder,
            seed=self.seed,
            settings=[*as_settings(merged), *settings_of(model, self.settings)],
            overwrite=True,
            progress=False,
            watch=watch,
        )
        return Outcome(done.validation[self.monitor], done.seconds)


def settings_of(model: str, settings: Sequence[str]) -> list[str]:
    """Those `key=value` settings that a model has; those of the training loop are for all."""
    known = {f"model.{name}" for name in model_class(model).Config.model_fields}
    keys = [text.partition("=")[0].strip() for text in settings]
    return [text for key, text in zip(keys, settings, strict=True) if not key.startswith("model.") or key in known]


def as_settings(values: Mapping[str, Value]) -> list[str]:
    """`key=value` texts that mean these values; absent ones are left out."""
    said = {True: "true", False: "false"}
    return [
        f"{key}={said[value] if isinstance(value, bool) else value}"
        for key, value in values.items()
        if value is not None
    ]


class TrialWatch:
    """Ends a training that is pruned, that its time is up for, or that runs at another pace than planned.

    Args:
        clock: what tells the time.
        deadline: time at which it ends, with what it has by then.
        allowed: seconds that it may plan for.
        epochs: how many it plans for; 0 to only measure the pace.
        report: told (epochs done, value) of every validation; raises what prunes.
        shown: told of epochs done, after every update.
        repace: whether it may still ask for another number of epochs.
    """

    def __init__(
        self,
        clock: Clock,
        deadline: float,
        allowed: float,
        epochs: int,
        report: Callable[[float, float], None],
        shown: Callable[[float], None] = lambda done: None,
        repace: bool = True,
    ) -> None:
        self.clock, self.deadline, self.allowed, self.epochs = clock, deadline, allowed, epochs
        self.report, self.shown, self.repace = report, shown, repace
        self.ended = False
        self.epoch_seconds: float | None = None
        self.validation_seconds = 0.0
        self._validations = 0
        self._last = clock()
        self._first = (self._last, 0.0)  # what the pace is counted from: time, and epochs done by then

    def stepped(self, step: int, per_epoch: int) -> bool:
        """As `Watch.stepped`. Raises Repace, or OutOfTime where there is no validation yet."""
        now = self._last = self.clock()
        self.shown(step / per_epoch)
        if step == PROBE_STEPS < per_epoch:  # what comes before is making the model, and warming up
            self._first = (now, step / per_epoch)
        since, before = self._first
        known = step > PROBE_STEPS and now - since >= PROBE_SECONDS
        if known and self.repace and not self._validations:
            self._pace((now - since) / (step / per_epoch - before), step / per_epoch)
        if now < self.deadline:
            return False
        if not self._validations:
            raise OutOfTime("the budget ended before the first validation")
        self.ended = True
        return True

    def validated(self, epochs: float, value: float) -> None:
        """As `Watch.validated`. Raises what prunes, and Repace."""
        now = self.clock()
        self.validation_seconds = now - self._last
        self._validations += 1
        since, before = self._first
        if epochs > before:
            self.epoch_seconds = (now - since) / (epochs - before)
        if self._validations == 1 and self.repace and self.epoch_seconds is not None:
            self._pace(self.epoch_seconds, epochs)  # first: what is begun again has reported nothing
        self.report(epochs, value)

    def _pace(self, epoch_seconds: float, done: float) -> None:
        """Compare the plan with what fits, were the training begun again; only before much of it is done."""
        self.epoch_seconds = epoch_seconds
        fits = fitting_epochs(self.allowed, epoch_seconds)
        if not self.epochs or fits < SHRINK * self.epochs or fits > GROW * self.epochs:
            raise Repace(epoch_seconds)
        if done >= 1:
            self.repace = False
