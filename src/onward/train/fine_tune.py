"""Fine-tuning: passes over what is new, with a sample of the old beside it so that the old isn't forgotten.

A pass costs what is read, not what is asked for. Of a user with new events only the newest older ones are read, as
context, so that the same time pays for more passes; and each pass replays other users, so that little that is old is
trained on twice while much of it isn't at all. Where little is new the budget would pay for many passes, which learn it
by heart; past a few of them it pays for more replay instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from onward.config import FineTuneConfig, TrainConfig
from onward.data.batches import Steps
from onward.data.sequences import Histories, Ints
from onward.data.targets import WEIGHT
from onward.data.windows import cut_windows
from onward.errors import ConfigError
from onward.models.sequence import SequenceModel

LEAST_TOKENS = 16
"""As in `TrainConfig.batch_tokens`."""


def tuned(train: TrainConfig, config: FineTuneConfig) -> TrainConfig:
    """The settings of the training loop: smaller steps of smaller batches, since few of what they read are targets; and
    one epoch, since `Tuning.rows` holds all passes."""
    share = config.learning_rate_share
    return train.model_copy(
        update={
            "epochs": 1,
            "stop_after": None,
            "decay_from": None,
            "batch_tokens": max(LEAST_TOKENS, round(train.batch_tokens * config.batch_share)),
            "learning_rate": train.learning_rate * share,
            "item_learning_rate": train.item_learning_rate * share,
            "schedule": "constant" if train.schedule == "plateau" else train.schedule,
        }
    )


@dataclass(frozen=True)
class Tuning:
    """What is new of some training histories, and what may be replayed; no event is a target in both.

    Attributes:
        training: all of it, in which events that are context weigh nothing.
        begin: (B,) int64 position where the context of what is new begins; the end where nothing is.
        first_new: (B,) int64 position of each history's first new event, or its end.
    """

    training: Histories
    begin: Ints
    first_new: Ints

    @classmethod
    def of(cls, training: Histories, since: int, context: int) -> Self:
        """Divide training histories at an instant. An event of no weight stays one.

        Args:
            since: microseconds UTC, the first instant of what is new.
            context: steps that are read before a user's first new one.

        Raises:
            ConfigError: the data has no times, or nothing happened since.
        """
        time = training.time
        if time is None:
            raise ConfigError("what is new can't be told without event times", "prepare the log with --time COLUMN")
        row, position = training.positions()
        older = np.bincount(row[time[position] < since], minlength=len(training))
        if older.sum() == len(position):
            raise ConfigError(
                f"no training event happened since {since} (microseconds UTC), so there is nothing to learn"
            )
        first_new = training.start + older
        begin = np.where(first_new < training.end, _shortly_before(training, first_new, context), training.end)
        weight = np.ones(len(training.item), dtype=np.float32)
        weight[position[(position >= begin[row]) & (position < first_new[row])]] = 0.0
        if WEIGHT in training.columns:
            weight = weight * np.asarray(training.columns[WEIGHT], dtype=np.float32)
        return cls(replace(training, columns={**training.columns, WEIGHT: weight}), begin, first_new)

    @property
    def new_events(self) -> int:
        """Events that are new."""
        return int((self.training.end - self.first_new).sum())

    def rows(self, amount: Amount, seed: int) -> Histories:
        """What is new as often as there are passes, and histories to replay, drawn at random and without what is new.

        Those have as many older events as are replayed, about; none is drawn again before all were.
        """
        new = np.tile(np.flatnonzero(self.first_new < self.training.end), amount.passes)
        older = self.begin - self.training.start
        again = _draw(older, amount.replayed, seed)
        return replace(
            self.training.select(np.concatenate([new, again])),
            start=np.concatenate([self.begin[new], self.training.start[again]]),
            end=np.concatenate([self.training.end[new], self.begin[again]]),
        )


@dataclass(frozen=True)
class Amount:
    """How much is trained on.

    Attributes:
        passes: over what is new.
        replayed: old events beside it, over all passes.
    """

    passes: int
    replayed: float

    @classmethod
    def within(
        cls, config: FineTuneConfig, training: Histories, tuning: Tuning, model: SequenceModel, train: TrainConfig
    ) -> Self:
        """What costs no more than the budget says; one pass at least.

        Args:
            training: all training events.
            train: of a training from nothing, with the number of epochs that such a one takes.
        """
        replayed = config.replay * tuning.new_events  # in one pass
        if config.epochs is not None:
            return cls(config.epochs, config.epochs * replayed)
        anew = _input_steps(training, model, train)
        budget = config.budget * train.epochs * anew
        new = _input_steps(tuning.rows(cls(1, 0.0), 0), model, train)
        old = max(1.0, anew / training.lengths.sum())  # steps an event; windows `prefix` read many for one target
        passes = max(1, int(budget / max(new + old * replayed, 1)))
        if passes <= config.most_epochs:
            return cls(passes, passes * replayed)
        return cls(config.most_epochs, (budget - config.most_epochs * new) / old)


def _input_steps(histories: Histories, model: SequenceModel, train: TrainConfig) -> int:
    """Steps that one pass reads: those of the windows with a target."""
    steps = Steps(histories)
    windows = model.traits.resolve_windows(train.windows, model.name)
    first, last = cut_windows(steps.start, steps.end, model.config.max_length, windows)
    has_target = steps.predicted(last if windows == "prefix" else first + 1, last) > 0
    return int((last - first)[has_target].sum())


def _draw(sizes: Ints, wanted: float, seed: int) -> Ints:
    """(n,) int64 histories, drawn at random until their sizes come to what is wanted; those of one event are none."""
    usable = np.flatnonzero(sizes > 1)
    rounds = int(np.ceil(wanted / max(sizes[usable].sum(), 1))) if len(usable) else 0
    rng = np.random.default_rng(seed)
    drawn: Ints = np.concatenate([usable[:0], *(rng.permutation(usable) for _ in range(rounds))])
    before = np.cumsum(sizes[drawn]) - sizes[drawn]
    chosen: Ints = drawn[before < wanted]
    return chosen


def _shortly_before(histories: Histories, positions: Ints, context: int) -> Ints:
    """(B,) int64 position where the `context` steps before the one at a position of each history begin."""
    steps = Steps(histories)
    if steps.bounds is None:
        return np.maximum(histories.start, positions - context)
    step = np.searchsorted(steps.bounds, positions, side="right") - 1
    return np.asarray(steps.bounds[np.maximum(steps.start, step - context)], dtype=np.int64)
