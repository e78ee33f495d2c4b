"""A dataset as of an instant: nothing later is in the folder, and everything earlier is as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.data.as_of import write_as_of
from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError


def frame(seed: int = 0, rows: int = 300) -> pl.DataFrame:
    """Users, items, prices and colours come up in the course of time; equal times occur."""
    generator = np.random.default_rng(seed)
    time = np.sort(generator.integers(0, 200, rows)) + 1_600_000_000
    user = np.minimum(generator.integers(0, 30, rows), np.arange(rows) // 5)
    return pl.DataFrame(
        {
            "user": [f"u{one:02}" for one in (user * 7) % 31],  # their order by id isn't that of their coming
            "item": [f"i{one:02}" for one in (generator.integers(0, 40, rows) % (np.arange(rows) // 6 + 1) * 11) % 43],
            "time": time,
            "price": generator.random(rows).round(3),
            "colour": generator.choice(["red", "green", "blue"], rows),
        }
    )


def prepared(log: pl.DataFrame, folder: Path) -> Dataset:
    (folder.parent / "features.toml").write_text(
        '[events.price]\nkind = "number"\n[events.colour]\nkind = "category"\n', encoding="utf-8"
    )
    users = log["user"].unique(maintain_order=True).sort()
    links = pl.DataFrame({"user": users[:-1], "friend": users[1:]})
    items = pl.DataFrame({"item": log["item"].unique().sort(), "weight": np.arange(log["item"].n_unique()) / 4})
    return prepare(log, folder, items=items, links=links, features=folder.parent / "features.toml", allow_rejected=True)


def events(data: Dataset) -> list[tuple[object, ...]]:
    """(user, item, time, price, colour) of every event, in order."""
    histories = data.histories
    row, position = histories.positions()
    colours = ["", *data.event_values("colour").to_list()]
    columns = histories.columns
    return list(
        zip(
            data.users["user"].gather(row).to_list(),
            data.catalog.frame["item"].gather(histories.item[position].astype(np.int64) - 1).to_list(),
            columns["time"][position].tolist(),
            columns["feature.price"][position].tolist(),
            [colours[code] for code in columns["feature.colour"][position]],
            strict=True,
        )
    )


@pytest.mark.parametrize("seconds", [20, 90, 150])
def test_it_is_what_preparing_the_earlier_events_gives(seconds: int, tmp_path: Path) -> None:
    log, until = frame(), 1_600_000_000 + seconds
    whole = prepared(log, tmp_path / "whole")
    made = write_as_of(whole, until * 10**6, tmp_path / "made")
    expected = prepared(log.filter(pl.col("time") < until), tmp_path / "expected")
    assert events(made) == events(expected)
    assert made.users["user"].to_list() == expected.users["user"].to_list()
    assert made.catalog.ids == expected.catalog.ids
    assert made.event_values("colour").to_list() == expected.event_values("colour").to_list()
    for name in ("users", "items", "events", "time_min", "time_max", "tie_share", "repeat_share", "links"):
        if name != "links":
            assert getattr(made.manifest, name) == getattr(expected.manifest, name), name
    assert open_dataset(tmp_path / "made").manifest == made.manifest


def test_links_join_users_that_were_there(tmp_path: Path) -> None:
    log = frame()
    whole = prepared(log, tmp_path / "whole")
    made = write_as_of(whole, (1_600_000_000 + 40) * 10**6, tmp_path / "made")
    assert whole.links is not None
    assert made.links is not None

    def named(data: Dataset) -> set[tuple[str, str]]:
        assert data.links is not None
        ids = data.users["user"]
        return set(zip(ids.gather(data.links["user"]), ids.gather(data.links["friend"]), strict=True))

    there = set(made.users["user"])
    assert named(made) == {pair for pair in named(whole) if set(pair) <= there}
    assert 0 < made.links.height < whole.links.height


def test_later_events_leave_no_trace(tmp_path: Path) -> None:
    log, until = frame(), 1_600_000_000 + 90
    later = pl.col("time") >= until
    other = log.with_columns(
        item=pl.when(later).then(pl.lit("i00-other")).otherwise("item"),
        colour=pl.when(later).then(pl.lit("puce")).otherwise("colour"),
    )
    one = write_as_of(prepared(log, tmp_path / "a"), until * 10**6, tmp_path / "one")
    two = write_as_of(prepared(other, tmp_path / "b"), until * 10**6, tmp_path / "two")
    assert events(one) == events(two)
    assert one.event_values("colour").to_list() == two.event_values("colour").to_list()


def test_before_the_first_event_there_is_nothing(tmp_path: Path) -> None:
    whole = prepared(frame(), tmp_path / "whole")
    with pytest.raises(ConfigError, match=r"no event of .* is before"):
        write_as_of(whole, 0, tmp_path / "made")
    assert not (tmp_path / "made").exists()
