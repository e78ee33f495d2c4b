"""Intervals and paired tests by resampling users.

Requests of one user depend on each other, so whole users are drawn, with replacement (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993). A metric is a sum over requests divided by a count, so a draw needs only
each user's sums and how often the user was drawn.

Shapes: U users, M metrics, R requests, S resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward.evaluate.results import Estimate

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

RESAMPLES = 1000
"""Draws of all users; the ends of an interval then lie within about 0.7 percentage points of their level."""
LEVEL = 0.95
_HELD = 4_000_000
"""Draws held at once (32 MB)."""


@dataclass(frozen=True)
class PairedTest:
    """How much one model differs from another on the same users.

    Attributes:
        difference: of the means over requests, with its 95% interval.
        p_value: two-sided.
        error: standard error of the difference.
        freedom: degrees of freedom of that standard error; 0 where it says nothing.
    """

    difference: Estimate
    p_value: float
    error: float
    freedom: float


def resample_totals(sums: Floats, seed: int, resamples: int = RESAMPLES) -> Floats:
    """(S, M) totals of each resample, from (U, M) sums of each user."""
    return np.concatenate([counts @ sums for counts in _user_counts(len(sums), seed, resamples)])


def user_sums(user: NDArray[np.int64], values: Floats) -> Floats:
    """(U, M + 1) sums of (R, M) request values by user, and in the last column the user's requests.

    `user` (R,) holds numbers from 0 to U - 1, each at least once.
    """
    columns = [np.bincount(user, weights=column) for column in values.T]
    return np.stack([*columns, np.bincount(user).astype(np.float64)], axis=1)


def intervals(blocks: Sequence[tuple[Floats, Statistic]], seed: int) -> list[list[Estimate]]:
    """Percentile intervals of statistics of totals, all from the same draws of users.

    Args:
        blocks: (U, C) sums of each user, and the statistic that turns (n, C) totals into (n, M) values, NaN where
            a total leaves a value undefined.

    Returns:
        The M estimates of each block.
    """
    drawn = resample_totals(np.concatenate([sums for sums, _ in blocks], axis=1), seed)
    tail = 100 * (1 - LEVEL) / 2
    found, first = [], 0
    for sums, statistic in blocks:
        value = statistic(sums.sum(axis=0, keepdims=True))[0]
        low, high = np.nanpercentile(statistic(drawn[:, first : first + sums.shape[1]]), [tail, 100 - tail], axis=0)
        ends = zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
        found.append([Estimate(value=v, low=a, high=b) for v, a, b in ends])
        first += sums.shape[1]
    return found


def user_means(sums: Floats) -> Floats:
    """Sums of `user_sums` with each user's mean in place of the sum, so that every user counts alike."""
    return np.append(sums[:, :-1] / sums[:, -1:], np.ones((len(sums), 1)), axis=1)


def means(totals: Floats) -> Floats:
    """(n, M) means from totals whose last column is the number of requests; NaN where that is zero."""
    count = totals[:, -1:]
    return np.divide(totals[:, :-1], count, out=np.full_like(totals[:, :-1], np.nan), where=count > 0)


def paired_tests(user: NDArray[np.int64], differences: Floats, seed: int = 0) -> list[PairedTest]:
    """Test of each column of (R, M) differences between two models on the same requests: is its mean zero?

    The paired bootstrap with a shift (Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006;
    Smucker, Allan and Carterette, CIKM 2007), users being the units: under the null hypothesis the difference
    varies around zero as the resampled difference varies around the observed one, so p is the share of resamples
    at least as far from the observed difference as that is from zero, the observed sample counted as one of them.

    Args:
        user: (R,) number of each request's user, 0 to U - 1, each at least once.
    """
    if len(user) != len(differences):
        raise ValueError(f"{len(user)} users of requests, but {len(differences)} differences")
    sums = user_sums(user, differences)
    drawn = means(resample_totals(sums, seed))
    observed = means(sums.sum(axis=0, keepdims=True))[0]
    largest = float(np.abs(differences).max(initial=0.0))
    return _shifted(observed, drawn, len(sums), largest)


def paired_statistics(
    model: tuple[Floats, Statistic], reference: tuple[Floats, Statistic], seed: int = 0
) -> list[PairedTest]:
    """As `paired_tests`, of statistics of totals: (U, C) sums of each user, and what makes (n, M) values of totals."""
    (sums, statistic), (others, their_statistic) = model, reference
    drawn = resample_totals(np.concatenate([sums, others], axis=1), seed)
    width = sums.shape[1]
    differences = statistic(drawn[:, :width]) - their_statistic(drawn[:, width:])
    observed = statistic(sums.sum(axis=0, keepdims=True)) - their_statistic(others.sum(axis=0, keepdims=True))
    return _shifted(observed[0], differences, len(sums), 1.0)


def _shifted(observed: Floats, drawn: Floats, users: int, largest: float) -> list[PairedTest]:
    """The tests of (M,) observed differences from (S, M) resampled ones."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(drawn, [tail, 100 - tail], axis=0)
    rounding = 1e-12 * max(1.0, largest)
    extreme = (np.abs(drawn - observed) >= np.abs(observed) - rounding).sum(axis=0)
    p_values = (1 + extreme) / (1 + len(drawn))
    if users == 1:
        p_values = np.ones_like(p_values)  # one user says nothing of others
    errors = np.sqrt(resampled_variance(drawn, users))
    ends = zip(observed.tolist(), low.tolist(), high.tolist(), p_values.tolist(), errors.tolist(), strict=True)
    return [PairedTest(Estimate(value=v, low=a, high=b), p, error, users - 1) for v, a, b, p, error in ends]


def resampled_variance(drawn: Floats, users: int) -> Floats:
    """Variance over (S, ...) resamples, without the shrinkage of drawing from a sample: of a mean, s² / U."""
    found: Floats = np.nanvar(drawn, axis=0, ddof=1) * users / max(users - 1, 1)
    return found


def holm(p_values: list[float]) -> list[float]:
    """p-values of several tests, adjusted so that any false finding stays at the level (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]


def _user_counts(users: int, seed: int, resamples: int) -> Iterator[Floats]:
    """How often each user is drawn, in blocks of resamples: (block, U) each."""
    generator = np.random.default_rng(seed)
    block = max(1, _HELD // max(users, 1))
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        drawn = generator.integers(0, users, size=(rows, users))
        drawn += np.arange(rows)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users).astype(np.float64)
