"""Generated logs hold what their docstrings promise."""

from __future__ import annotations

import numpy as np
import polars as pl

from onward.data.prepare import prepare
from onward.data.synthetic import as_histories, block_events, chain_events, zipf_events


def steps(events: pl.DataFrame, items: int) -> np.ndarray:
    data = as_histories(events)
    same_user = np.ones(len(data.item) - 1, dtype=bool)
    same_user[data.end[:-1] - 1] = False
    return (np.diff(data.item.astype(int)) % items)[same_user]


def test_a_chain_without_noise_always_goes_on():
    events = chain_events(users=30, items=7, length=9, seed=3)
    assert events.height == 270
    assert (steps(events, 7) == 1).all()


def test_noise_breaks_its_share_of_the_chain():
    share = (steps(chain_events(400, 50, 20, noise=0.3, seed=1), 50) != 1).mean()
    assert abs(share - 0.3 * 49 / 50) < 0.02


def test_blocks_hold_each_user():
    events = block_events(users=50, blocks=4, block_items=10, length=6)
    blocks = events.group_by("user").agg(
        (pl.col("item") // 10).n_unique(), pl.col("item").n_unique().alias("different")
    )
    assert blocks["item"].to_list() == [1] * 50
    assert blocks["different"].to_list() == [6] * 50


def test_zipf_popularity_falls():
    counts = zipf_events(20_000, 100, 50)["item"].value_counts().sort("item")["count"].to_numpy()
    assert counts[0] > 1.8 * counts[1] > 2 * counts[3]
    expected = np.arange(1, 51) ** -1.1
    np.testing.assert_allclose(counts[:5] / 20_000, (expected / expected.sum())[:5], rtol=0.1)


def test_the_seed_decides():
    for make in (lambda seed: chain_events(9, 5, 4, 0.5, seed), lambda seed: zipf_events(99, 9, 9, seed=seed)):
        assert make(1).equals(make(1))
        assert not make(1).equals(make(2))


def test_as_histories_is_what_prepare_gives(tmp_path):
    events = chain_events(users=8, items=5, length=6, noise=0.5, seed=2)
    prepared, direct = prepare(events, tmp_path / "dataset").histories, as_histories(events)
    np.testing.assert_array_equal(prepared.item, direct.item)  # one-digit ids are in number order
    np.testing.assert_array_equal(prepared.time, direct.time)
    np.testing.assert_array_equal(prepared.end, direct.end)
