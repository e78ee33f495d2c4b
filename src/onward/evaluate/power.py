"""The smallest difference that a comparison can find: what the data at hand can decide, and what it can't.

A difference with standard error e is found with power 1 - b at level a (two-sided) when it is at least

    (t(1 - a/2) + t(1 - b)) e,

the minimum detectable effect (Bloom, "Minimum detectable effects", Evaluation Review 19, 1995): 2.80 e at 5% and 80%
with many degrees of freedom. Where Holm's procedure corrects m tests, its first step, a / m, is taken.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from onward.evaluate.bootstrap import Floats
from onward.evaluate.results import Detectable

POWER = 0.8
"""How often a difference of this size is found."""
ERRORS = 0.05
"""How often a difference is reported where there is none."""
CORRELATIONS = (0.5, 0.8)
"""Of two models' answers over the same users: unlike models, and variants of one. Pairs of NDCG@10 on ml-100k and on
grocery baskets lie between 0.4 and 0.9, and beyond that for trainings that differ in the seed."""


def smallest_difference(error: float, freedom: float, tests: int = 1) -> float | None:
    """The minimum detectable effect, in the unit of the standard error `error`; None without degrees of freedom.

    Args:
        tests: how many tests share the level.
    """
    if freedom <= 0 or not math.isfinite(error):
        return None
    multiple = stats.t.ppf(1 - ERRORS / (2 * tests), freedom) + stats.t.ppf(POWER, freedom)
    return float(multiple * error)


def mean_error(sums: Floats) -> float:
    """Standard error of a mean over requests, from (U, 2) each user's sum and number of requests.

    That of a ratio of totals (Cochran, "Sampling Techniques", 1977, eq. 2.39 and 6.13); NaN of one user.
    """
    users = len(sums)
    if users < 2:
        return math.nan
    total, requests = sums.sum(axis=0)
    residual = sums[:, 0] - total / requests * sums[:, 1]
    return float(np.sqrt(users / (users - 1) * np.square(residual).sum()) / requests)


def before_comparing(metric: str, sums: Floats) -> list[Detectable]:
    """What a comparison with another model on the same requests will be able to find, from one model alone.

    With both models' answers equally spread and correlated by r, the difference has the standard error
    e sqrt(2 (1 - r)). Empty for one user.
    """
    error, value = mean_error(sums), float(sums[:, 0].sum() / sums[:, 1].sum())
    found = []
    for correlation in CORRELATIONS:
        change = smallest_difference(error * math.sqrt(2 * (1 - correlation)), len(sums) - 1)
        if change is not None:
            share = change / value if value else None
            found.append(Detectable(metric=metric, correlation=correlation, difference=change, share=share))
    return found
