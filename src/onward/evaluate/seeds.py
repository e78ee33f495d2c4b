"""Seeds as a source of variance: what a model is worth on average over trainings, and how sure that is.

A metric of one training varies with the users that were drawn and with the seed of the training, which are crossed:
every training answers the requests of every user. For the mean over S trainings and U users that is, with variance
components of users, seeds and what is left between them (Searle, Casella and McCulloch, "Variance Components", 1992,
ch. 4; Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021, for why),

    Var = v_users / U + v_seeds / S + v_both / (U S).

The first and the last come from resampling users while the trainings stay; the seeds' part is the variance between
trainings beyond what v_both explains, or none where it isn't beyond. Degrees of freedom are Satterthwaite's (1946), so
that three seeds give the wide interval that they deserve. Two models are compared on the same users, each with
trainings of its own: user by user the difference is paired, and both models' seeds add their parts.

Shapes: U users, S seeds, R resamples, M metrics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from onward.evaluate.bootstrap import LEVEL, Floats, PairedTest, Statistic, resample_totals, resampled_variance
from onward.evaluate.results import Estimate

Block = tuple[Floats, Statistic]
"""(U, C) sums of each user in one training, and the statistic that turns (n, C) totals into (n, M) values."""


def seed_intervals(runs: Sequence[Block], seed: int = 0) -> list[Estimate]:
    """The M values averaged over the runs, trainings that differ in their seed alone, with 95% intervals."""
    return [test.difference for test in _tests([(1, runs)], seed)]


def seed_tests(model: Sequence[Block], reference: Sequence[Block], seed: int = 0) -> list[PairedTest]:
    """Test of each value between two models, each averaged over its runs: is the difference zero?

    A model with one run adds no variance of seeds: right for one that has no seed, and too little for one that does.
    """
    return _tests([(1, model), (-1, reference)], seed)


def spread_interval(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one metric's estimates over runs, where only their intervals are known.

    Its standard error is never too small: trainings are taken to err alike on the same users.
    """
    values = np.array([one.value for one in estimates])
    user_error = np.mean([one.high - one.low for one in estimates]) / (2 * stats.norm.ppf(0.5 + LEVEL / 2))
    seed_part = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
    variance = user_error**2 + seed_part
    freedom = np.inf if seed_part == 0 else (len(values) - 1) * (variance / seed_part) ** 2
    half = stats.t.ppf(0.5 + LEVEL / 2, freedom) * np.sqrt(variance)
    mean = float(values.mean())
    return Estimate(value=mean, low=float(mean - half), high=float(mean + half))


def _tests(arms: Sequence[tuple[int, Sequence[Block]]], seed: int) -> list[PairedTest]:
    """The sum of the arms' means over seeds, each with its sign, against zero."""
    users = len(arms[0][1][0][0])
    if any(len(sums) != users for _, runs in arms for sums, _ in runs):
        raise ValueError("trainings of different users")
    measured = [(sign, *_measured(runs, seed)) for sign, runs in arms]
    value = np.sum([sign * observed.mean(axis=0) for sign, observed, _ in measured], axis=0)
    resampled = np.sum([sign * drawn.mean(axis=1) for sign, _, drawn in measured], axis=0)
    variance = resampled_variance(resampled, users)
    spent = variance**2 / max(users - 1, 1)  # the denominator of Satterthwaite's formula
    least = np.full_like(variance, users - 1.0)
    for _, observed, drawn in measured:
        seeds = len(observed)
        if seeds > 1:
            between = observed.var(axis=0, ddof=1) / seeds
            own = drawn - drawn.mean(axis=1, keepdims=True)
            chance = resampled_variance(own, users).sum(axis=0) / (seeds - 1) / seeds
            beyond = between > chance
            variance = variance + np.where(beyond, between - chance, 0)
            used = (between**2 + chance**2 / max(users - 1, 1)) / (seeds - 1)
            spent = spent + np.where(beyond, used, 0)
            least = np.where(beyond, np.minimum(least, seeds - 1), least)
    # a sum of parts has at least the degrees of freedom of one; with one user there are none
    freedom = np.maximum(np.divide(variance**2, spent, out=np.zeros_like(spent), where=spent > 0), least)
    return [_test(*one) for one in zip(value.tolist(), np.sqrt(variance).tolist(), freedom.tolist(), strict=True)]


def _test(value: float, error: float, freedom: float) -> PairedTest:
    if freedom == 0 or error == 0:
        sure = freedom > 0 and value != 0
        return PairedTest(Estimate(value=value, low=value, high=value), 0.0 if sure else 1.0, error, freedom)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return PairedTest(Estimate(value=value, low=value - half, high=value + half), p, error, freedom)


def _measured(runs: Sequence[Block], seed: int) -> tuple[Floats, Floats]:
    """(S, M) values of the runs, and (R, S, M) of each resample of users, the same draws for every run."""
    observed = np.concatenate([statistic(sums.sum(axis=0, keepdims=True)) for sums, statistic in runs])
    drawn = resample_totals(np.concatenate([sums for sums, _ in runs], axis=1), seed)
    ends = np.cumsum([sums.shape[1] for sums, _ in runs])
    parts = np.split(drawn, ends[:-1], axis=1)
    return observed, np.stack([runs[s][1](part) for s, part in enumerate(parts)], axis=1)
