"""The time line cut into periods, by duration or by number of events."""

from __future__ import annotations

import re

import numpy as np

from onward.data.arrays import Ints
from onward.errors import ConfigError

PERIODS = 10
"""Periods where nobody says how long they are, of equal numbers of events."""
SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0}


def cut_periods(times: Ints, every: str | None) -> tuple[int, ...]:
    """Where periods begin, and in the end one past the last event: (P + 1,) microseconds UTC, ascending.

    Args:
        times: (N,) int64 microseconds UTC of the events to walk over, in any order.
        every: `1d`, `12h`, `2w`, `30m`, or a number of events; None cuts into ten of equal numbers. A period without
            an event is part of the one before it, and what is left of the events, if less than half a period, too.

    Raises:
        ConfigError: a text that is neither, or fewer than two periods.
    """
    ordered = np.sort(times)
    first, end = int(ordered[0]), int(ordered[-1]) + 1
    text = "" if every is None else every.strip().lower()
    size = -(-len(ordered) // PERIODS) if every is None else int(text) if text.isdigit() else 0
    if size:
        places = np.arange(0, len(ordered), size)
        if len(places) > 1 and len(ordered) - places[-1] < size / 2:
            places = places[:-1]
        starts = np.unique(ordered[places])
    else:
        step = round(_seconds(text) * 1e6)
        starts = first + np.unique((ordered - first) // step) * step
    if len(starts) < 2:
        raise ConfigError(
            f"{len(ordered):,} events from {_day(first)} to {_day(end)} are one period alone, with none to move on to",
            "choose a shorter --every, or train with a larger split.test_share",
        )
    return (*starts.tolist(), end)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([wdhm])", text)
    if not found or not float(found[1]):
        raise ConfigError(
            f"--every {text!r} is neither a time nor a number of events", "for example 1d, 12h, 2w, or 5000"
        )
    return float(found[1]) * SECONDS[found[2]]


def _day(microseconds: int) -> str:
    return str(np.datetime64(microseconds, "us").astype("datetime64[D]"))
