"""Arrays of whole numbers, and the positions that windows cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def ranges(start: Ints, end: Ints) -> Ints:
    """start[0] ... end[0]-1, start[1] ... end[1]-1, ... as one array."""
    if len(start) == 1:  # the request of a live service, which feels every array that is made
        return np.arange(start[0], end[0])
    lengths = end - start
    positions: Ints = np.repeat(start - (np.cumsum(lengths) - lengths), lengths)
    positions += np.arange(len(positions))
    return positions
