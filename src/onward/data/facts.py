"""What the manifest says about the events: range and ties of times, and how often items come again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward.config import SplitConfig
from onward.data.arrays import distinct
from onward.data.columns import Columns, rows_of

_SLICE = 8_000_000


@dataclass(frozen=True)
class Facts:
    """Counts over all events.

    Attributes:
        time_min, time_max: microseconds UTC; None without times.
        tie_share: share of the events that have the time of another event of their user; None without times.
        repeat_share: share of the training events whose item the user had in an earlier group (or event).
    """

    time_min: int | None
    time_max: int | None
    tie_share: float | None
    repeat_share: float


def find_facts(events: Columns, offsets: NDArray[np.int64], n_items: int) -> Facts:
    """Look at all events once, a slice of users at a time.

    Training events are those before the default cut in time, or without times all but each user's last two
    (groups), as `--protocol last` has it.

    Args:
        events: item (int32) and, where there are, time (int64), group (int32): flat, users ascending.
        offsets: (U + 1,) int64.
    """
    time = events.get("time")
    cut = _default_cut(time) if time is not None else None
    tied = repeats = training = 0
    for owner, some in _slices(events, offsets):
        train = some["time"] < cut if cut is not None else _not_last_two(owner, some)
        training += int(train.sum())
        repeats += _repeats(owner, some, train, n_items)
        if "time" in some:
            tied += _tied(owner, some["time"])
    return Facts(
        int(time.min()) if time is not None else None,
        int(time.max()) if time is not None else None,
        tied / int(offsets[-1]) if time is not None else None,
        repeats / training if training else 0.0,
    )


def _default_cut(time: NDArray[np.int64]) -> int:
    """First instant of validation under the default time protocol (see split.py)."""
    config = SplitConfig()
    place = min(len(time) - 1, int(len(time) * (1 - config.test_share - config.valid_share)))
    return int(np.partition(time, place)[place])


def _slices(events: Columns, offsets: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Columns]]:
    """(owner of each row, columns) of whole users, about _SLICE events at a time."""
    wanted = {name: column for name, column in events.items() if name in ("item", "time", "group")}
    first = 0
    while first < len(offsets) - 1:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _SLICE, side="right")) - 1)
        lengths = np.diff(offsets[first : last + 1])
        owner = np.repeat(np.arange(len(lengths)), lengths)
        yield owner, rows_of(wanted, slice(int(offsets[first]), int(offsets[last])))
        first = last


def _places(owner: NDArray[np.int64], some: Columns) -> NDArray[np.int64]:
    """Number of each row's group (or of the row itself) within its user, from 0."""
    if "group" in some:
        return some["group"].astype(np.int64)
    sizes = np.bincount(owner)
    return np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]


def _not_last_two(owner: NDArray[np.int64], some: Columns) -> NDArray[np.bool_]:
    place = _places(owner, some)
    last = place[np.cumsum(np.bincount(owner)) - 1][owner]
    return np.asarray((place <= last - 2) | (last < 2))


def _repeats(owner: NDArray[np.int64], some: Columns, train: NDArray[np.bool_], n_items: int) -> int:
    key = owner[train] * (n_items + 1) + some["item"][train]
    if "group" not in some:  # all but the first of a user's events with an item
        return len(key) - len(distinct(key))
    place = some["group"][train]
    order = np.argsort(key, kind="stable")
    key, place = key[order], place[order]
    first = np.ones(len(key), dtype=np.bool_)
    first[1:] = np.diff(key) != 0
    first_place = place[first][np.cumsum(first) - 1]
    return int((place > first_place).sum())


def _tied(owner: NDArray[np.int64], time: NDArray[np.int64]) -> int:
    same = (np.diff(owner) == 0) & (np.diff(time) == 0)
    tied = np.zeros(len(owner), dtype=np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    return int(tied.sum())
