"""Which windows of histories train. Positions and steps are numbered over all histories together."""

from __future__ import annotations

import numpy as np

from onward.config import Windows
from onward.data.arrays import Ints, ranges


def cut_windows(start: Ints, end: Ints, max_length: int, windows: Windows) -> tuple[Ints, Ints]:
    """First and last step of every window, both included: two (W,) int64 arrays.

    Args:
        start, end: (B,) int64 first and one-past-last step of each history; one of fewer than two steps gives none.
        max_length: steps of a window, but for its last one, which is only a target.
        windows: `last`: the newest window of a history; `all`: a history longer than that is cut into windows from its
            newest end; `prefix`: one for every step but the first, ending there.
    """
    if windows == "prefix":
        return _prefixes(start, end, max_length)
    return _pieces(start if windows == "all" else np.maximum(start, end - max_length - 1), end, max_length)


def _pieces(start: Ints, end: Ints, max_length: int) -> tuple[Ints, Ints]:
    """Windows that together hold every step but the first of each history as a target once; newest first."""
    long_enough = end - start >= 2
    start, last = start[long_enough], end[long_enough] - 1
    pieces = -((start - last) // max_length)  # ceil of the number of targets over max_length
    which = np.repeat(np.arange(len(start)), pieces)
    piece = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    window_last = last[which] - piece * max_length
    return np.maximum(start[which], window_last - max_length), window_last


def _prefixes(start: Ints, end: Ints, max_length: int) -> tuple[Ints, Ints]:
    start, end = start[end > start], end[end > start]
    last = ranges(start + 1, end)
    return np.maximum(np.repeat(start, end - start - 1), last - max_length), last
