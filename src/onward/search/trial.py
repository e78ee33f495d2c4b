"""One trial: a training with the trial's settings, or one that goes on where an earlier trial was paused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from onward.config import SplitConfig, apply_settings
from onward.data.dataset import Dataset
from onward.models.registry import model_class
from onward.space import Value
from onward.train.branch import branch
from onward.train.loop import BEST, Stopped
from onward.train.range_test import RangeTest, range_test
from onward.train.resolve import resolve
from onward.train.run import Trained, train
from onward.train.watch import AtOnce, Watch

EPOCHS_MOST = 100
"""Epochs of a trial that nothing ends before; its watch does, as a rule."""


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        value: the monitored metric on the validation part, of the weights that were kept.
        fit_seconds: time that the model took to learn, in earlier trials that this one went on from too.
        epochs: those of the weights that were kept; None for a model that is fitted in one call.
        interrupted: whether Ctrl-C ended it.
    """

    value: float
    fit_seconds: float
    epochs: float | None = None
    interrupted: bool = False


class Objective(Protocol):
    """What is searched for the best settings of."""

    def __call__(
        self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch, paused: Path | None = None
    ) -> Outcome:
        """Train a model with these settings (`model.width` style) into a folder, from nothing or from where the run in
        another folder was paused."""

    def range_test(self, model: str, settings: Mapping[str, Value], seconds: float) -> RangeTest:
        """A learning rate range test of at most so many seconds, about."""


class TrainObjective:
    """Trainings on a dataset.

    Args:
        settings: `key=value` settings of every trial; they go over those of the trial.
        monitor: metric of the validation part.
    """

    def __init__(self, data: Dataset, split: SplitConfig, seed: int, settings: Sequence[str], monitor: str) -> None:
        self.data, self.split, self.seed, self.settings, self.monitor = data, split, seed, settings, monitor

    def __call__(
        self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch, paused: Path | None = None
    ) -> Outcome:
        """As `Objective`. Raises what a training raises, and KeyError where the model has no such metric.

        After Ctrl-C a training that has validated leaves the best model that it had.
        """
        interrupted = False
        try:
            if paused is None:
                done = self._begin(model, settings, folder, watch)
            else:
                branch(paused, folder)
                done = self._resume(folder, watch)
        except Stopped:
            if not (folder / BEST).is_file():
                raise
            done, interrupted = self._resume(folder, AtOnce()), True
        return Outcome(done.validation[self.monitor], done.seconds, done.best_epoch, interrupted)

    def range_test(self, model: str, settings: Mapping[str, Value], seconds: float) -> RangeTest:
        """As `Objective.range_test`. Raises ConfigError for settings that can't be used."""
        given = apply_settings({}, self._settings(model, settings))
        return range_test(self.data, resolve(self.data, given, model, None, None, self.seed), seconds)

    def _settings(self, model: str, settings: Mapping[str, Value]) -> list[str]:
        split = {f"split.{name}": value for name, value in self.split.model_dump(exclude_none=True).items()}
        merged: dict[str, Value] = {**split, **loop_settings(model), **settings}
        return [*as_settings(merged), *settings_of(model, self.settings)]

    def _begin(self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch) -> Trained:
        given = self._settings(model, settings)
        return train(
            self.data, model, folder, seed=self.seed, settings=given, overwrite=True, progress=False, watch=watch
        )

    def _resume(self, folder: Path, watch: Watch) -> Trained:
        return train(self.data, out=folder, resume=True, progress=False, watch=watch)


def loop_settings(model: str) -> dict[str, Value]:
    """Of a training whose end its watch decides: at a constant step size until then."""
    if not model_class(model).traits.trainable:
        return {}
    return {"train.schedule": "wsd", "train.epochs": EPOCHS_MOST, "train.patience": EPOCHS_MOST}


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
