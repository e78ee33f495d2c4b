"""The last event of every user, as what is asked for."""

from __future__ import annotations

import numpy as np

from onward.data.requests import Part
from onward.data.sequences import Histories


def requests(histories: Histories) -> tuple[Part, Histories]:
    """The last event of every user is asked for, whatever comes before it, or nothing."""
    users = np.flatnonzero(histories.lengths > 0)
    start, end = histories.start[users], histories.end[users]
    part = Part(users, start, end - 1, end - 1, end, "target")
    return part, part.requests(histories)
