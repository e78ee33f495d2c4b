"""Baskets: what the server makes of a user's events is what preparation makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from engine_helpers import make_bundle, make_engine
from server_helpers import Server

from onward.client import Client
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.serve.lists.baskets import in_baskets
from onward.serve.lists.engine import Engine
from onward.serve.lists.requests import HistoryItem, Request
from onward.serve.replay.run import replay
from onward.serve.store.protocol import Event, EventStore, open_store
from onward.train.run import train

START = 1_600_000_000


def log(seed: int) -> pl.DataFrame:
    """Users with baskets that overlap in time, events without one, equal times, repeats; in no order."""
    rng = np.random.default_rng(seed)
    size = 900
    basket = rng.integers(0, 12, size)
    return pl.DataFrame(
        {
            "user": rng.integers(0, 45, size),
            "item": rng.integers(0, 30, size),
            "time": START + 600 * (basket // 2) + rng.integers(0, 900, size) // 60 * 60,
            "basket": [None if number > 9 else f"b{number}" for number in basket.tolist()],
        }
    )


def stored(folder: Path, data: Dataset, frame: pl.DataFrame) -> tuple[EventStore, Engine]:
    """A store that got these events, as they came, and an engine of a model of the dataset over it."""
    store = open_store(folder / "events.db")
    rows = frame.with_columns(pl.col("user", "item").cast(str)).rows()
    store.append(
        [
            Event(f"e{n}", user, item, time * 1_000_000, group=basket)
            for n, (user, item, time, basket) in enumerate(rows)
        ]
    )
    return store, make_engine(make_bundle(folder / "model", data, max_length=64), store)


@pytest.mark.parametrize("duplicates", ["keep", "first", "last"])
@pytest.mark.parametrize("seed", [0, 1])
def test_baskets_are_those_of_preparation(tmp_path: Path, seed: int, duplicates: str) -> None:
    frame = log(seed)
    data = prepare(frame, tmp_path / "dataset", group="basket", duplicates=duplicates)
    store, engine = stored(tmp_path, data, frame)
    histories, users = data.histories, data.users["user"].to_list()
    assert (np.bincount(histories.columns["group"][histories.start[0] : histories.end[0]]) > 1).any()
    if duplicates == "keep":
        for row, user in enumerate(users):
            found = store.history(user, 10_000)
            events, groups = in_baskets(found, store.groups(found.seqs))
            mine = slice(int(histories.start[row]), int(histories.end[row]))
            assert groups.tolist() == histories.columns["group"][mine].tolist()
            assert events.times.tolist() == histories.columns["time"][mine].tolist()
            names = dict(store.items_after(0))
            assert [names[key] for key in events.items.tolist()] == [
                data.catalog.id(item) for item in histories.item[mine].tolist()
            ]
    answers = engine.recommend([Request(user=user, k=10) for user in users])
    lists = engine.model.bundle.model.recommend(histories, 10, seen=data.manifest.seen)
    for row, answer in enumerate(answers):
        assert [one.item for one in answer.items] == [
            data.catalog.id(item) for item in lists.items[row].tolist() if item
        ]
        np.testing.assert_allclose([one.score for one in answer.items], lists.scores[row], rtol=1e-4, atol=1e-5)
    store.close()


def test_the_items_of_a_typed_history_are_a_basket_where_they_say_so(tmp_path: Path) -> None:
    data = prepare(log(0), tmp_path / "dataset", group="basket")
    store, engine = stored(tmp_path, data, log(0).clear())
    (plain,) = engine.recommend([Request(history=(HistoryItem("1"), HistoryItem("2"), HistoryItem("3")))])
    (turned,) = engine.recommend([Request(history=(HistoryItem("3"), HistoryItem("2"), HistoryItem("1")))])
    assert [one.score for one in plain.items] != [one.score for one in turned.items], "their order counts"
    (at_once,) = engine.recommend([Request(history=tuple(HistoryItem(item, time=START) for item in "123"))])
    assert [one.score for one in at_once.items] == [one.score for one in plain.items], "as of stored events without one"
    (basket,) = engine.recommend([Request(history=tuple(HistoryItem(item, group="b") for item in "123"))])
    (other,) = engine.recommend([Request(history=tuple(HistoryItem(item, group="b") for item in "321"))])
    np.testing.assert_allclose([one.score for one in basket.items], [one.score for one in other.items], rtol=1e-4)
    store.close()


@pytest.mark.parametrize("duplicates", ["keep", "first", "last"])
def test_a_typed_history_with_baskets_is_that_of_the_store(tmp_path: Path, duplicates: str) -> None:
    frame = log(2)
    frame = pl.concat([frame, frame[:60]])  # repeats in their baskets
    data = prepare(frame, tmp_path / "dataset", group="basket", duplicates=duplicates)
    store, engine = stored(tmp_path, data, frame)
    users = frame["user"].unique().sort().to_list()
    for user in users:
        events = frame.filter(pl.col("user") == user)
        typed = tuple(
            HistoryItem(str(item), time * 1_000_000, group=basket)
            for item, time, basket in events.select("item", "time", "basket").iter_rows()
        )
        ours, theirs = engine.recommend([Request(history=typed), Request(user=str(user))])
        assert ours.history_events == theirs.history_events
        assert [one.item for one in ours.items] == [one.item for one in theirs.items]
        np.testing.assert_allclose([one.score for one in ours.items], [one.score for one in theirs.items], rtol=1e-5)
    apart = [HistoryItem(str(n), START * 1_000_000, group="a" if n < 3 else "b") for n in range(6)]
    together = [replace(one, group="a") for one in apart]
    first, second = engine.recommend([Request(history=tuple(apart)), Request(history=tuple(together))])
    assert [one.score for one in first.items] != [one.score for one in second.items]
    store.close()


def test_a_replay_of_baskets_agrees(tmp_path: Path) -> None:
    data = prepare(log(3), tmp_path / "dataset", group="basket")
    few = ["train.epochs=1", "train.warmup_steps=1"]
    train(data.path, "sasrec", tmp_path / "run", protocol="last", settings=few, progress=False)
    with Server(tmp_path, tmp_path / "run") as server, Client(server.url) as client:
        done = replay(tmp_path / "run", data.path, client)
    assert done.agrees
    assert done.requests == done.same == done.histories_same > 30
