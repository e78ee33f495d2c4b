"""The values of events as interests: the events' value column put on a line from 0 to 1.

Shapes: E events, V items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Histories, Ints
from onward.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Valued:
    """The events of some histories whose value is known, history by history.

    Attributes:
        row: (E,) int64 history of each event.
        item: (E,) int64.
        interest: (E,) float64, the value on the line from `value_range`, clipped to [0, 1].
    """

    row: Ints
    item: Ints
    interest: Floats


def learned_range(training: Histories, who: str) -> tuple[float, float]:
    """The smallest and the largest value of the training events, which interest 0 and 1 stand for.

    Raises ConfigError naming `who` when the events have no values, or only one.
    """
    values = training.columns.get("value")
    known = values[training.positions()[1]] if values is not None else np.zeros(0)
    known = known[~np.isnan(known)]
    if not len(known) or known.min() == known.max():
        raise ConfigError(
            f"{who} learns from the events' value column, and the training events have "
            + ("none" if values is None else "no two different values"),
            "prepare with --value COLUMN (a rating, a quantity), or choose another model or loss",
        )
    return float(known.min()), float(known.max())


def to_interest(values: NDArray[np.generic], value_range: tuple[float, float]) -> Floats:
    """Values as interests: `value_range` goes to 0 and 1, what lies outside is clipped, NaN stays NaN."""
    low, high = value_range
    return np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)


def valued_events(histories: Histories, value_range: tuple[float, float]) -> Valued:
    """Every event with a value; none where the histories have no values."""
    row, position = histories.positions()
    values = histories.columns.get("value")
    if values is None:
        row, position, interest = row[:0], position[:0], np.zeros(0)
    else:
        interest = to_interest(values[position], value_range)
        known = ~np.isnan(interest)
        row, position, interest = row[known], position[known], interest[known]
    return Valued(row, histories.item[position].astype(np.int64), interest)


def means_by(key: Ints, interest: Floats, n: int, otherwise: float) -> Floats:
    """(n,) mean interest of the events of each key; `otherwise` where there are none."""
    count = np.bincount(key, minlength=n)
    total = np.bincount(key, interest, minlength=n)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)
