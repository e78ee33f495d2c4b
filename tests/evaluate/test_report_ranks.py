"""Shares of the targets by rank, against a slow count."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from onward.evaluate.report_ranks import rank_histogram, within


def table(above: list[list[int]], tied: list[list[int]]) -> pl.DataFrame:
    return pl.DataFrame({"above": above, "tied": tied})


def test_within_by_hand():
    above, tied = np.array([0, 2, 0, 7]), np.array([1, 1, 4, 0])
    # at 1: the first whole, a quarter of the tie; at 3: two, three quarters; the last is a miss
    assert within(above, tied, [1, 3, 10]).tolist() == pytest.approx([1.25 / 4, 2.75 / 4, 3 / 4])


def test_bands_agree_with_a_slow_count():
    rng = np.random.default_rng(1)
    above, tied = rng.integers(0, 600, 300), rng.integers(0, 5, 300)
    made = rank_histogram([table([[a] for a in above], [[t] for t in tied])], candidates=700)
    shares = dict.fromkeys((band["label"] for band in made["bands"]), 0.0)
    for a, t in zip(above, tied, strict=True):
        if t == 0:
            shares["never"] += 1 / 300
        for place in range(a + 1, a + t + 1):
            label = next(
                name
                for name in shares
                if name != "never" and int(name.split("–")[0]) <= place <= int(name.split("–")[-1])
            )
            shares[label] += 1 / t / 300
    assert {band["label"]: band["shares"][0] for band in made["bands"]} == pytest.approx(shares)
    assert sum(shares.values()) == pytest.approx(1)


def test_the_curve_rises_to_what_can_be_listed_and_sets_of_targets_count_each():
    made = rank_histogram([table([[0, 5], [2]], [[1, 1], [0]])], candidates=8)
    assert made["targets"] == 3
    assert [band["label"] for band in made["bands"]] == ["1", "2–5", "6–8", "never"]
    assert made["ks"][0] == 1
    assert made["ks"][-1] == 8
    assert made["within"][0][-1] == pytest.approx(2 / 3)
    assert made["within"][0] == sorted(made["within"][0])
    assert made["medians"] == [6.0]


def test_a_million_targets_are_a_few_numbers():
    rng = np.random.default_rng(0)
    many = pl.DataFrame({"above": rng.integers(0, 10**6, (10**5, 1)).tolist(), "tied": [[1]] * 10**5})
    made = rank_histogram([many], candidates=10**6)
    assert len(made["ks"]) <= 40
    assert len(made["bands"]) <= 13
    assert all(band["label"] != "never" for band in made["bands"])
