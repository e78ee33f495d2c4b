"""Fine-tuning: a few epochs on what is new, with a sample of the old beside it so that the old isn't forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onward.config import FineTuneConfig, TrainConfig
from onward.data.sequences import Histories
from onward.data.targets import WEIGHT
from onward.errors import ConfigError


def tuned(train: TrainConfig, config: FineTuneConfig) -> TrainConfig:
    """The settings of the training loop: fewer epochs, smaller steps."""
    share = config.learning_rate_share
    return train.model_copy(
        update={
            "epochs": config.epochs,
            "stop_after": None,
            "decay_from": None,
            "learning_rate": train.learning_rate * share,
            "item_learning_rate": train.item_learning_rate * share,
            "schedule": "constant" if train.schedule == "plateau" else train.schedule,
        }
    )


def with_replay(training: Histories, since: int, replay: float, seed: int) -> Histories:
    """The same histories, in which the targets are the events from `since` on, and all of some users drawn at random.

    Users are drawn until they have `replay` times as many older events as there are new ones, or until all are. An
    event of no weight stays one.

    Raises:
        ConfigError: the data has no times, or nothing happened since.
    """
    time = training.time
    if time is None:
        raise ConfigError("what is new can't be told without event times", "prepare the log with --time COLUMN")
    row, position = training.positions()
    is_new = time[position] >= since
    new = int(is_new.sum())
    if not new:
        raise ConfigError(f"no training event happened since {since} (microseconds UTC), so there is nothing to learn")
    older = np.bincount(row[~is_new], minlength=len(training))
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(older))
    before = np.concatenate([[0], np.cumsum(older[drawn])[:-1]]) if len(drawn) else older[:0]
    again = np.zeros(len(training), dtype=np.bool_)
    again[drawn[before < replay * new]] = True
    weight = np.zeros(len(training.item), dtype=np.float32)
    weight[position[is_new | again[row]]] = 1.0
    if WEIGHT in training.columns:
        weight = weight * np.asarray(training.columns[WEIGHT], dtype=np.float32)
    return replace(training, columns={**training.columns, WEIGHT: weight})
