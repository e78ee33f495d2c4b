"""Features of stored events: what every event store must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from store_helpers import Open, event, statuses

from onward.data.dataset import open_dataset
from onward.data.prepare import prepare
from onward.serve.store import tables
from onward.serve.store.protocol import EventStore, open_store
from onward.serve.store.sql import open_database
from onward.serve.store.values import MAX_FEATURES_BYTES

KNOWN = {"device": "ph\u00f6ne", "price": 0.1, "tags": ["a", "b\\0"], "gift": True, "odd": None, "'quoted'": 'say "so"'}


def test_features_come_back_as_they_were_sent(store: EventStore) -> None:
    store.append([event(1, features=KNOWN), event(2), event(3, features={"price": 1e300})])
    seqs = store.history("ann", 10).seqs
    assert store.event_features(seqs) == {int(seqs[0]): KNOWN, int(seqs[2]): {"price": 1e300}}
    assert store.event_features(seqs[1:2]) == store.event_features(np.zeros(0, np.int64)) == {}
    assert [dict(one.features) for one in store.since(0, 10)[0]] == [KNOWN, {}, {"price": 1e300}]


def test_features_are_part_of_what_an_event_says(store: EventStore) -> None:
    first = event(1, features=KNOWN)
    assert statuses(store.append([first, event(2)])) == ["stored", "stored"]
    turned = replace(first, features=dict(reversed(KNOWN.items())))
    assert statuses(store.append([turned, event(1), event(2, features={"price": 2})])) == [
        "duplicate", "conflict", "conflict"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"": 1}, "the name of a feature is empty"),
        ({"a\0": 1}, "the name of a feature holds a NUL"),
        ({"price": float("nan")}, "features can't be stored"),
        ({"text": "\ud800"}, "not valid Unicode"),
        ({"text": "x" * MAX_FEATURES_BYTES}, "are taken"),
        ({"thing": {1, 2}}, "features can't be stored"),
    ],
)
def test_features_that_are_refused(store: EventStore, features: dict[str, Any], said: str) -> None:
    bad, good = store.append([event(1, features=features), event(2)])
    assert (bad.status, good.status) == ("rejected", "stored")
    assert said in (bad.reason or "")


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_without_features_is_brought_forward(
    url: str, reopen: Open, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Events of before are whole, and a retry of one is still the same event."""
    with monkeypatch.context() as older:
        older.setattr(tables, "STEPS", tables.STEPS[:version])
        older.setattr(tables, "VERSION", version)
        reopen().close()
    database = open_database(url, False)
    assert database.read("SELECT value FROM meta WHERE name = 'version'") == [(str(version),)]
    current = open_store(url)
    body = current.append([event(1)])[0]
    assert body.status == "stored"
    assert database.read("SELECT features FROM events") == [(None,)]
    assert statuses(current.append([event(1), event(2, features=KNOWN)])) == ["duplicate", "stored"]
    assert current.retain(days=1, events_a_user=None).events == 0
    assert len(current.event_features(current.history("ann", 9).seqs)) == 1
    current.close()
    database.close()


def test_an_export_has_a_column_for_each_feature(store: EventStore, tmp_path: Path) -> None:
    store.append(
        [
            event(1, item="a", features={"device": "phone", "price": 3, "item": "of the client's", "at": [1, 2.5]}),
            event(2, item="b", at=2_000, features={"device": "desk", "mixed": 1}),
            event(3, item="c", at=3_000, features={"mixed": "two"}),
        ]
    )
    store.export(tmp_path / "out")
    frame = pl.read_parquet(tmp_path / "out" / "events.parquet").sort("time")
    assert frame["device"].to_list() == ["phone", "desk", None]
    assert frame["price"].to_list() == [3.0, None, None]
    assert frame["feature item"].to_list() == ["of the client's", None, None]
    assert frame["at"].to_list() == [[1.0, 2.5], None, None]
    assert frame["mixed"].to_list() == [None, "1", "two"]
    prepare(tmp_path / "out" / "events.parquet", tmp_path / "data")
    assert open_dataset(tmp_path / "data").manifest.event_features["device"] == "category"
