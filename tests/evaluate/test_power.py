"""The smallest difference that can be found: published numbers, the exact power, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from onward.evaluate.bootstrap import intervals, means, paired_tests, user_sums
from onward.evaluate.power import before_comparing, mean_error, smallest_difference


def test_blooms_multiple_of_the_standard_error() -> None:
    # from tables of t at 97.5% and 80%: 1.960 + 0.842, 2.179 + 0.873 with 12 degrees of freedom, 2.086 + 0.860 with 20
    assert smallest_difference(1.0, 1e9) == pytest.approx(2.8016, abs=1e-4)
    assert smallest_difference(1.0, 12) == pytest.approx(3.052, abs=1e-3)
    assert smallest_difference(1.0, 20) == pytest.approx(2.946, abs=1e-3)
    assert smallest_difference(0.5, 1e9) == pytest.approx(1.4008, abs=1e-4)
    assert smallest_difference(0.0, 10) == 0.0


@pytest.mark.parametrize("users", [20, 50, 500])
def test_it_is_found_with_a_power_of_80_percent(users: int) -> None:
    found = smallest_difference(users**-0.5, users - 1)  # of differences with a standard deviation of one
    assert found is not None
    critical, shift = stats.t.ppf(0.975, users - 1), found * users**0.5
    power = stats.nct.sf(critical, users - 1, shift) + stats.nct.cdf(-critical, users - 1, shift)
    assert power == pytest.approx(0.8, abs=0.01)


def test_more_tests_need_a_larger_difference() -> None:
    one, five = smallest_difference(1.0, 100), smallest_difference(1.0, 100, tests=5)
    assert one is not None
    assert five == pytest.approx(one - stats.t.ppf(0.975, 100) + stats.t.ppf(0.995, 100))


def test_nothing_is_found_from_one_user() -> None:
    assert smallest_difference(1.0, 0) is None
    assert smallest_difference(float("nan"), 5) is None
    assert before_comparing("ndcg@10", user_sums(np.zeros(3, dtype=np.int64), np.ones((3, 1)))) == []


def test_the_paired_test_finds_it_four_times_in_five() -> None:
    generator = np.random.default_rng(0)
    user = np.repeat(np.arange(40), 2)
    spread = generator.normal(size=(300, 40))
    size = smallest_difference(40**-0.5, 39)
    assert size is not None
    found = [
        paired_tests(user, np.repeat(one + size, 2)[:, None], seed)[0].p_value < 0.05 for seed, one in enumerate(spread)
    ]
    assert 0.73 <= np.mean(found) <= 0.88


def test_the_error_of_a_mean_over_requests_is_the_bootstraps() -> None:
    generator = np.random.default_rng(0)
    user = np.repeat(np.arange(200), generator.integers(1, 9, 200))
    values = generator.exponential(size=200)[user] + generator.normal(size=len(user))
    sums = user_sums(user, values[:, None])
    ((interval,),) = intervals([(sums, means)], seed=0)
    assert mean_error(sums) == pytest.approx((interval.high - interval.low) / (2 * 1.96), rel=0.08)
    even = user_sums(np.arange(50), values[:50, None])
    assert mean_error(even) == pytest.approx(values[:50].std(ddof=1) / 50**0.5)


def test_before_comparing_it_follows_from_the_spread_and_the_correlation() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    unlike, alike = before_comparing("ndcg@10", user_sums(np.arange(400), values[:, None]))
    error = values.std(ddof=1) / 20
    assert (unlike.correlation, alike.correlation) == (0.5, 0.8)
    assert unlike.difference == pytest.approx((stats.t.ppf(0.975, 399) + stats.t.ppf(0.8, 399)) * error)
    assert alike.difference == pytest.approx(unlike.difference * 0.4**0.5)
    assert unlike.share == pytest.approx(unlike.difference / values.mean())
    assert unlike.metric == "ndcg@10"
    nothing = before_comparing("ndcg@10", user_sums(np.arange(3), np.zeros((3, 1))))
    assert [(one.difference, one.share) for one in nothing] == [(0.0, None), (0.0, None)]
