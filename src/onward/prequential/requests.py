"""What is known of the requests of a period, whoever answers, in a table of one row a request."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.arrays import Ints
from onward.data.sequences import Histories
from onward.data.split import Part


def about_requests(
    data: Histories, part: Part, period: int, start: int, popularity: NDArray[np.float64]
) -> pl.DataFrame:
    """What is known of the requests of a period, whoever answers: `period`, `time`, `user`, `returning`, `popularity`.

    Args:
        start: of the period; who had an event before it is returning.
        popularity: (V + 1,) of each item, as `popularity_before` gives it; a request's is the mean of its targets'.
    """
    assert data.time is not None
    row, position = part.targets(data)
    popular = np.bincount(row, popularity[data.item[position]], len(part)) / np.bincount(row, minlength=len(part))
    return pl.DataFrame(
        {
            "period": np.full(len(part), period),
            "time": data.time[part.target_start],
            "user": part.user,
            "returning": data.time[data.start[part.user]] < start,
            "popularity": popular,
        }
    )


def popularity_before(data: Histories, until: int) -> NDArray[np.float64]:
    """(V + 1,) share of the events before an instant whose item had fewer events, ties by half; 0 without an event.

    Over the events before that instant it is 1/2 on average; below that, less popular items are asked for.
    """
    assert data.time is not None
    _, positions = data.positions()
    before = positions[np.asarray(data.time[positions]) < until]
    counts: Ints = np.bincount(data.item[before], minlength=data.n_items + 1)
    levels, level = np.unique(counts, return_inverse=True)
    events = levels * np.bincount(level)
    share = (np.cumsum(events) - events / 2) / max(int(events.sum()), 1)
    return np.where(counts > 0, share[level], 0.0)
