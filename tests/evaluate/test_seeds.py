"""Users and seeds together: against the analysis of variance, and by simulation with a truth that is known."""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest
from scipy import stats

from onward.evaluate.bootstrap import means, paired_tests, resample_totals, user_sums
from onward.evaluate.results import Estimate
from onward.evaluate.seeds import Block, seed_intervals, seed_tests, spread_interval


def blocks(values: np.ndarray) -> list[Block]:
    """One block a training of (U, S) values, one request a user."""
    users = np.arange(len(values))
    return [(user_sums(users, column[:, None]), means) for column in values.T]


def drawn(
    generator: np.random.Generator, users: int, seeds: int, spreads: tuple[float, float, float], mean: float = 0.0
) -> np.ndarray:
    """(U, S) values with standard deviations of users, seeds and what is left."""
    by_user, by_seed, both = spreads
    of_users, of_seeds = generator.normal(0, by_user, (users, 1)), generator.normal(0, by_seed, (1, seeds))
    return mean + of_users + of_seeds + generator.normal(0, both, (users, seeds))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples, for many repetitions."""
    module = importlib.import_module("onward.evaluate.seeds")
    monkeypatch.setattr(module, "resample_totals", partial(resample_totals, resamples=150))


def analysis_of_variance(values: np.ndarray) -> tuple[float, float]:
    """Variance of the grand mean and Satterthwaite's degrees of freedom, from the mean squares of a crossed design."""
    users, seeds = values.shape
    mean = values.mean()
    of_user, of_seed = values.mean(axis=1), values.mean(axis=0)
    by_user = seeds * ((of_user - mean) ** 2).sum() / (users - 1)
    by_seed = users * ((of_seed - mean) ** 2).sum() / (seeds - 1)
    rest = ((values - of_user[:, None] - of_seed + mean) ** 2).sum() / ((users - 1) * (seeds - 1))
    total = by_user + by_seed - rest
    spent = by_user**2 / (users - 1) + by_seed**2 / (seeds - 1) + rest**2 / ((users - 1) * (seeds - 1))
    return total / (users * seeds), total**2 / spent


def test_the_interval_is_that_of_the_analysis_of_variance() -> None:
    values = drawn(np.random.default_rng(1), 300, 4, (1.0, 0.2, 0.5), 3.0)
    (found,) = seed_intervals(blocks(values), seed=0)
    variance, freedom = analysis_of_variance(values)
    assert found.value == pytest.approx(values.mean())
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)  # of a thousand resamples
    assert found.high - found.value == pytest.approx(found.value - found.low)


def test_seeds_that_differ_no_more_than_chance_add_nothing() -> None:
    values = drawn(np.random.default_rng(0), 200, 3, (1.0, 0.0, 0.5))
    values -= values.mean(axis=0)  # every training has the same mean
    (found,) = seed_intervals(blocks(values), seed=0)
    error = values.mean(axis=1).std(ddof=1) / 200**0.5
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 199) * error, rel=0.06)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("users", "seeds", "spreads"),
    [
        (60, 3, (1.0, 0.3, 0.5)),  # most of the variance is that of three seeds
        (60, 5, (1.0, 0.1, 0.5)),
        (60, 5, (1.0, 0.0, 0.5)),  # the seed does nothing to the mean
        (200, 5, (0.5, 0.3, 0.3)),  # nothing but seeds
    ],
)
def test_intervals_cover_the_truth_about_95_times_in_100(
    users: int, seeds: int, spreads: tuple[float, float, float]
) -> None:
    generator = np.random.default_rng(7)
    times = 300
    covered, by_users_alone = 0, 0
    for number in range(times):
        values = drawn(generator, users, seeds, spreads)
        (found,) = seed_intervals(blocks(values), seed=number)
        covered += found.low <= 0 <= found.high
        error = values.mean(axis=1).std(ddof=1) / users**0.5
        by_users_alone += abs(values.mean()) <= 1.96 * error
    assert 0.92 <= covered / times <= 0.985
    if spreads[1] >= 0.3:
        assert by_users_alone / times < 0.85  # what an interval over users alone would have claimed


@pytest.mark.usefixtures("quick")
def test_a_true_null_is_rejected_about_5_times_in_100() -> None:
    """Two models of equal worth, five and three trainings, the same users."""
    generator = np.random.default_rng(3)
    p_values, of_one_seed = [], []
    for number in range(300):
        shared = generator.normal(0, 1, (50, 1))
        one = shared + drawn(generator, 50, 5, (0.3, 0.1, 0.5))
        other = shared + drawn(generator, 50, 3, (0.3, 0.1, 0.5))
        p_values.append(seed_tests(blocks(one), blocks(other), seed=number)[0].p_value)
        of_one_seed.append(paired_tests(np.arange(50), one[:, :1] - other[:, :1], seed=number)[0].p_value)
    assert 0.015 <= np.mean(np.array(p_values) < 0.05) <= 0.08
    assert np.mean(np.array(of_one_seed) < 0.05) > 0.1  # one training each mistakes its seed for its model


def test_one_training_each_is_the_paired_test_of_them() -> None:
    generator = np.random.default_rng(0)
    user = np.sort(generator.integers(0, 80, 300))
    user = np.unique(user, return_inverse=True)[1]
    one, other = generator.normal(0.1, 1, (2, 300, 2))
    (paired, _), (found, _) = (
        paired_tests(user, one - other),
        seed_tests([(user_sums(user, one), means)], [(user_sums(user, other), means)]),
    )
    assert found.difference.value == pytest.approx(paired.difference.value)
    assert found.error == pytest.approx(paired.error)
    assert found.freedom == paired.freedom
    assert found.p_value == pytest.approx(paired.p_value, abs=0.03)
    assert found.difference.low == pytest.approx(paired.difference.low, abs=0.2 * found.error)


def test_many_trainings_alike_say_no_more_than_one() -> None:
    values = np.random.default_rng(0).normal(size=(100, 1))
    (once,), (often,) = seed_intervals(blocks(values)), seed_intervals(blocks(np.repeat(values, 5, axis=1)))
    assert (often.low, often.value, often.high) == pytest.approx((once.low, once.value, once.high))


def test_the_sign_turns_with_the_models_and_the_seed_decides() -> None:
    generator = np.random.default_rng(0)
    one, other = blocks(drawn(generator, 40, 3, (1, 0.1, 1), 0.5)), blocks(drawn(generator, 40, 2, (1, 0.1, 1)))
    (forth,), (back,) = seed_tests(one, other, 1), seed_tests(other, one, 1)
    assert back.difference.value == pytest.approx(-forth.difference.value)
    assert back.difference.low == pytest.approx(-forth.difference.high)
    assert back.p_value == pytest.approx(forth.p_value)
    assert seed_tests(one, other, 1) == [forth]
    assert seed_tests(one, other, 2) != [forth]


def test_equal_models_do_not_differ_and_one_user_proves_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(30, 3))
    (same,) = seed_tests(blocks(values), blocks(values))
    assert same.p_value == 1.0
    assert -1 < same.difference.low <= 0 == same.difference.value <= same.difference.high < 1
    assert seed_tests(blocks(values[:, :1]), blocks(values[:, :1]))[0].difference == Estimate(value=0, low=0, high=0)
    (alone,) = seed_tests(blocks(np.ones((1, 2))), blocks(np.zeros((1, 2))))
    assert (alone.p_value, alone.freedom) == (1.0, 0)


def test_trainings_of_different_users_are_refused() -> None:
    with pytest.raises(ValueError, match="different users"):
        seed_intervals([*blocks(np.ones((3, 1))), *blocks(np.ones((4, 1)))])


def test_a_mean_of_intervals_is_never_narrower_than_the_interval_of_the_mean() -> None:
    values = drawn(np.random.default_rng(1), 100, 3, (1.0, 0.2, 0.5))
    (exact,) = seed_intervals(blocks(values))
    single = [seed_intervals(blocks(column[:, None]))[0] for column in values.T]
    wide = spread_interval(single)
    assert wide.value == pytest.approx(exact.value)
    assert wide.high - wide.low >= 0.95 * (exact.high - exact.low)
    one = Estimate(value=0.3, low=0.2, high=0.4)
    assert spread_interval([one, one]).low == pytest.approx(0.2)
