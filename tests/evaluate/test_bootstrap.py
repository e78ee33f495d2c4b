"""Intervals and paired tests: against the normal theory, and under a null hypothesis that is true."""

from __future__ import annotations

import numpy as np
import pytest

from onward.evaluate import bootstrap


def one_each(values: np.ndarray) -> np.ndarray:
    return bootstrap.user_sums(np.arange(len(values)), values[:, None])


def test_user_sums_add_up_by_user() -> None:
    sums = bootstrap.user_sums(np.array([1, 0, 1]), np.array([[1.0, 10], [2, 20], [3, 30]]))
    assert sums.tolist() == [[2, 20, 1], [4, 40, 2]]
    assert bootstrap.means(sums.sum(axis=0, keepdims=True)).tolist() == [[2, 20]]


def test_every_resample_draws_as_many_users_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = bootstrap.resample_totals(np.ones((37, 1)), seed=0)
    assert totals.shape == (bootstrap.RESAMPLES, 1)
    assert (totals == 37).all()
    marks = np.eye(37)
    whole = bootstrap.resample_totals(marks, seed=5)
    assert whole.mean(axis=0) == pytest.approx(1, abs=0.2)
    assert whole.var(axis=0).mean() == pytest.approx(1 - 1 / 37, abs=0.05)
    monkeypatch.setattr(bootstrap, "_HELD", 100)  # in blocks of two resamples: the same draws
    assert (bootstrap.resample_totals(marks, seed=5) == whole).all()


def test_the_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 500)
    ((estimate,),) = bootstrap.intervals([(one_each(values), bootstrap.means)], seed=1)
    error = values.std() / 500**0.5
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_users_are_resampled_not_requests() -> None:
    """Ten equal requests a user say no more than one: the interval must not shrink."""
    values = np.random.default_rng(0).normal(size=100)
    ((once,),) = bootstrap.intervals([(one_each(values), bootstrap.means)], seed=0)
    repeated = bootstrap.user_sums(np.repeat(np.arange(100), 10), np.repeat(values, 10)[:, None])
    ((often,),) = bootstrap.intervals([(repeated, bootstrap.means)], seed=0)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        drawn = generator.exponential(size=60)
        ((estimate,),) = bootstrap.intervals([(one_each(drawn), bootstrap.means)], seed)
        hits += estimate.low <= 1.0 <= estimate.high
    assert 0.88 <= hits / 200 <= 0.99


def test_blocks_share_their_draws_and_the_seed_decides() -> None:
    sums = one_each(np.arange(20.0))
    (a,), (b,) = bootstrap.intervals([(sums, bootstrap.means), (sums, bootstrap.means)], seed=3)
    ((c,),) = bootstrap.intervals([(sums, bootstrap.means)], seed=3)
    ((d,),) = bootstrap.intervals([(sums, bootstrap.means)], seed=4)
    assert a == b == c
    assert d != c


def test_a_bucket_that_a_resample_misses_is_left_out_of_it() -> None:
    sums = np.array([[5.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    ((estimate,),) = bootstrap.intervals([(sums, bootstrap.means)], seed=0)
    assert (estimate.low, estimate.value, estimate.high) == (5, 5, 5)


def test_equal_models_do_not_differ() -> None:
    (test,) = bootstrap.paired_tests(np.arange(50), np.zeros((50, 1)))
    assert test.p_value == 1.0
    assert (test.difference.low, test.difference.value, test.difference.high) == (0, 0, 0)


def test_a_clear_difference_is_found_and_its_sign_kept() -> None:
    differences = np.random.default_rng(0).normal([0.5, -0.5, 0.0], 1, (400, 3))
    better, worse, neither = bootstrap.paired_tests(np.arange(400), differences)
    assert better.p_value == worse.p_value == 1 / (1 + bootstrap.RESAMPLES)
    assert better.difference.low > 0 > worse.difference.high
    assert neither.p_value > 0.05


def test_the_p_value_is_that_of_a_paired_t_test() -> None:
    differences = np.random.default_rng(3).normal(0.1, 1, 300)
    (test,) = bootstrap.paired_tests(np.arange(300), differences[:, None], seed=0)
    from scipy.stats import ttest_1samp

    assert test.p_value == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.03)


def test_p_values_are_even_when_nothing_differs() -> None:
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 3)  # three requests a user, alike
    p_values = [
        bootstrap.paired_tests(users, np.repeat(generator.normal(size=80), 3)[:, None], seed)[0].p_value
        for seed in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.10
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_one_user_proves_nothing() -> None:
    (test,) = bootstrap.paired_tests(np.zeros(5, dtype=np.int64), np.ones((5, 1)))
    assert test.p_value == 1.0


def test_requests_without_their_user_are_refused() -> None:
    with pytest.raises(ValueError, match="4 users of requests, but 5 differences"):
        bootstrap.paired_tests(np.arange(4), np.zeros((5, 1)))


def test_holm_by_hand() -> None:
    assert bootstrap.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bootstrap.holm([0.5, 0.9]) == [1.0, 1.0]
    assert bootstrap.holm([]) == []
