"""Whether retraining is due, of walks and of stores."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import onward
from onward.cli.main import main
from onward.drift.streams import read_streams
from onward.errors import ConfigError, FormatError
from onward.serve.store.protocol import Event, Impression, open_store

MINUTE, HOUR = 60_000_000, 3_600_000_000
START = 1_700_000_000_000_000


def walk_of(folder: Path, hits: dict[str, np.ndarray], popularity: np.ndarray) -> Path:
    """The table of a walk, its rows in an order that isn't that of time."""
    rows = len(popularity)
    frame = pl.DataFrame({"time": START + np.arange(rows) * MINUTE, "popularity": popularity})
    frame = frame.with_columns(**{f"{name} hr@10": values.astype(np.float64) for name, values in hits.items()})
    folder.mkdir(parents=True)
    frame.sample(fraction=1.0, shuffle=True, seed=0).write_parquet(folder / "requests.parquet")
    return folder


def drawn(rates: list[float], each: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.random(each) < rate for rate in rates])


def test_a_walk_whose_frozen_model_loses_says_when(tmp_path: Path) -> None:
    hits = {"never": drawn([0.3, 0.15], 2000, 0), "full": drawn([0.3, 0.3], 2000, 1)}
    folder = walk_of(tmp_path / "walk", hits, drawn([0.5, 0.5], 2000, 2).astype(np.float64))
    result = onward.drift(folder)
    never, full, popularity = result.streams
    assert result.source == "walk"
    assert result.due
    assert [len(one.changes) for one in (full, popularity)] == [0, 0]
    assert never.name == "hit rate of 'never'"
    assert never.changes[0].due
    assert result.due_since == never.changes[0].found
    assert START + 2000 * MINUTE < result.due_since < START + 2600 * MINUTE
    assert never.changes[0].since == result.due_since - (never.changes[0].values - 1) * MINUTE


@pytest.mark.parametrize("rates", [[0.4, 0.7], [0.7, 0.4]])
def test_any_change_of_what_is_asked_for_counts_but_a_better_hit_rate_does_not(
    rates: list[float], tmp_path: Path
) -> None:
    better, steady = drawn([0.2, 0.4], 2000, 0), drawn([0.5, 0.5], 2000, 1).astype(np.float64)
    risen = onward.drift(walk_of(tmp_path / "a", {"full": better}, steady))
    assert len(risen.streams[0].changes) > 0
    assert not risen.due
    assert risen.due_since is None
    other = onward.drift(walk_of(tmp_path / "b", {"full": drawn([0.3, 0.3], 2000, 3)}, drawn(rates, 2000, 4) * 1.0))
    assert other.due


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The export of a store: an older model's lists, then 3,000 of the one that serves, clicked ever less.

    Before its first list one item was popular; afterwards another one is.
    """
    generator = np.random.default_rng(0)
    with closing(open_store(tmp_path / "shop.db")) as store:
        events = [
            Event(id=f"old-{n}", user=f"u{n % 50}", item="boots" if n % 5 else "socks", time=START - (400 - n) * MINUTE)
            for n in range(300)
        ]
        store.append(events)
        lists, clicks = [], []
        for n in range(3100):
            request, when, model = f"r{n:04}", START + n * MINUTE, "old" if n < 100 else "new"
            lists.append(Impression(request, f"u{n % 50}", ("boots", "socks", "tent"), "top", None, model, when))
            rate = 0.9 if n < 100 else 0.35 if n < 1500 else 0.15
            if generator.random() < rate:
                item = "boots" if n < 1500 else "socks"
                clicks.append(Event(id=f"c{n}", user=f"u{n % 50}", item=item, time=when + 1, request_id=request))
        store.log_impressions(lists, durable=True)
        store.append(clicks)
        store.export(tmp_path / "shop")
    return tmp_path / "shop"


def test_a_store_whose_lists_are_clicked_less(shop: Path) -> None:
    result = onward.drift(shop, click_hours=1)
    rate, popularity = result.streams
    assert result.source == "store"
    assert rate.values == 3000 - 60  # of the model that serves, and an hour old
    assert rate.changes[0].due
    assert rate.changes[0].before == pytest.approx(0.35, abs=0.06)
    assert START + 1500 * MINUTE < rate.changes[0].found < START + 2200 * MINUTE
    assert popularity.changes[0].before > popularity.changes[-1].after
    assert result.due


def test_lists_that_may_still_be_clicked_are_left_out(shop: Path) -> None:
    _, (rate, _) = read_streams(shop, 24.0)
    newest = START + 3099 * MINUTE
    assert rate.times.max() <= newest + 1 - 24 * HOUR
    assert len(rate.times) == 3000 - 24 * 60
    with pytest.raises(ConfigError, match="may still be clicked"):
        onward.drift(shop, click_hours=1000)


def test_a_folder_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="neither the requests of a walk nor a store's lists"):
        onward.drift(tmp_path)
    (tmp_path / "requests.parquet").write_bytes(b"no table")
    with pytest.raises(FormatError, match="can't be read"):
        onward.drift(tmp_path)


def test_the_command_says_it(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", str(shop), "--click-hours", "1"]) == 0
    printed = capsys.readouterr().out
    assert "click rate" in printed
    assert "retraining is due, since 2023-11-1" in printed
