"""Times as codes: where in the day, week and year, and how long ago the event before was."""

from __future__ import annotations

import torch
from torch import Tensor

CALENDAR = (24, 7, 12)
"""Hours, weekdays (Monday first) and months; each has its codes after those of the one before."""
ELAPSED = 64
"""Buckets of elapsed time, two a doubling from a second on; the last holds all that is longer."""
_HOUR, _DAY = 3_600_000_000, 86_400_000_000
_MARCH_FIRST = 11_017
"""1 March 2000, in days since 1970: 400 years from there on hold 146,097 days."""


def calendar(times: Tensor) -> Tensor:
    """(n, 3) int64 hour, weekday and month of (n,) int64 microseconds UTC, each numbered on after the one before."""
    days = times.div(_DAY, rounding_mode="floor")
    hour = times.div(_HOUR, rounding_mode="floor") % 24
    weekday = (days + 3) % 7  # 1 January 1970 was a Thursday
    return torch.stack([hour, 24 + weekday, 24 + 7 + _month(days)], 1)


def _month(days: Tensor) -> Tensor:
    """Month, 0 to 11, of days since 1970, counted in years that begin in March, so that the odd day comes last."""
    day = (days - _MARCH_FIRST) % 146_097
    century = (day.div(36_524, rounding_mode="floor")).clamp(max=3)
    day = day - century * 36_524
    day = day - day.div(1_461, rounding_mode="floor") * 1_461
    year = day.div(365, rounding_mode="floor").clamp(max=3)
    # months of 31, 30, 31, 30, 31 days and again from August: 153 days in five of them
    return ((5 * (day - year * 365) + 2).div(153, rounding_mode="floor") + 2) % 12


def time_buckets(microseconds: Tensor, count: int) -> Tensor:
    """Int64 bucket, 0 to count - 1, of differences in microseconds (int64).

    Bucket 2 n begins at 2^n seconds, 2 n + 1 at 1.5 times that; less than a second, negative too, is bucket 0.
    """
    seconds = microseconds.float().mul_(1e-6).clamp_(min=1)
    # a float32's bits, read as a number, are its exponent (1.0 has 127) and then its mantissa, whose first bit is kept
    exponent_and_half = seconds.view(torch.int32).bitwise_right_shift_(22)
    return exponent_and_half.sub_(2 * 127).clamp_(max=count - 1).long()
