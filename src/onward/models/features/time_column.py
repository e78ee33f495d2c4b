"""Times: calendar, distance from the event before, days. Legend as in `column.py`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from onward.data.dataset import MISSING_TIME
from onward.models.features.column import FIRST, MISSING, ColumnBase, Expanded, Read
from onward.models.features.number_column import piecewise
from onward.models.features.times import CALENDAR, ELAPSED, calendar, time_buckets

MICROSECONDS_A_DAY = 86_400_000_000


class TimeColumn(ColumnBase):
    """A time: its hour, weekday and month (UTC), each a learned vector.

    The time of the event itself has a further one, for how long after the event before it came. Any other time, such as
    a date of release, is also a number of days, piecewise linear.
    """

    kind: Literal["time"] = "time"
    """Kind."""
    elapsed: bool = False
    """Whether this is the time of the event itself, which has a distance from the one before."""
    edges: list[float] = []
    """Training quantiles in days since 1970 between which the encoding is linear."""

    @property
    def numbers(self) -> int:
        """As in the base class."""
        return max(0, len(self.edges) - 1)

    @property
    def places(self) -> int:
        """As in the base class."""
        return len(CALENDAR) + self.elapsed

    @property
    def codes(self) -> int:
        """As in the base class."""
        return FIRST + sum(CALENDAR) + ELAPSED * self.elapsed

    def read(self, values: pl.Series) -> Read:
        """(n,) int64 microseconds UTC, MISSING_TIME where missing."""
        micro = values if values.dtype == pl.Int64 else values.cast(pl.Datetime("us")).cast(pl.Int64)
        return np.array(micro.fill_null(MISSING_TIME).to_numpy())  # polars shares its own, read-only

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class; what has elapsed isn't known from times alone (`with_elapsed`)."""
        known = (read != MISSING_TIME)[:, None]
        codes = (FIRST + calendar(read)).where(known, MISSING)
        days = (read / MICROSECONDS_A_DAY)[:, None]
        return codes, piecewise(days, self.edges).where(known, 0.0) if self.edges else None

    def with_elapsed(self, read: Tensor, before: Tensor) -> Tensor:
        """(n, P) int64 codes of times that come after others, (n,) int64; MISSING_TIME where there is none before."""
        codes, _ = self.expand(read)
        assert codes is not None
        known = (read != MISSING_TIME) & (before != MISSING_TIME)
        passed = FIRST + sum(CALENDAR) + time_buckets(read - before, ELAPSED)
        return torch.cat([codes, passed.where(known, MISSING)[:, None]], 1)

    def _how(self) -> str:
        return "time: hour, weekday, month" + (", and how long after the event before" if self.elapsed else "")
