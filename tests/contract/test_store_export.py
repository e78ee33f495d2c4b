"""Exports of every event store."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from store_helpers import HOUR, event, impression

from onward.data.prepare import prepare
from onward.errors import OutputError
from onward.serve.store.protocol import (
    EventStore,
    ItemRecord,
)


def test_an_export_can_be_prepared(store: EventStore, tmp_path: Path) -> None:
    basket = [event(number, f"u{number % 4}", f"i{number % 5}", at=number * HOUR, value=1.5) for number in range(40)]
    store.append([*basket, event(99, "u1", "i1", at=None, action="buy", request_id="r1", group="g")])
    store.put_items(
        [ItemRecord("i1", {"title": "Tea", "price": 3, "tags": ["hot"], "more": {"a": 1}}), ItemRecord("new")]
    )
    store.log_impressions(
        [impression("r1", "u1", items=("i1", "i2"), propensities=(0.9, 0.1), policy="explore")], durable=True
    )
    store.record_shown("r1", "u1", ["i1"])
    store.append([event(100, "u1", "i2", at=None, request_id="r1")])
    rows = store.export(tmp_path / "export")
    assert rows == {"events": 42, "items": 6, "impressions": 1}
    events = pl.read_parquet(tmp_path / "export/events.parquet")
    assert events["seq"].to_list() == list(range(1, 43))
    assert events["action"].to_list() == ["event"] * 40 + ["buy", "event"]
    assert events["group"].to_list() == [f"event event-{number}" for number in range(40)] + ["g", "event event-100"]
    lists = pl.read_parquet(tmp_path / "export/impressions.parquet")
    (shown,) = lists.select("user", "model", "items", "propensities", "sample", "shown", "clicked").rows()
    assert shown == ("u1", "m1", ["i1", "i2"], [0.9, 0.1], 1.0, ["i1"], ["i1", "i2"])
    dataset = prepare(tmp_path / "export/events.parquet", tmp_path / "dataset", items=tmp_path / "export/items.parquet")
    assert (dataset.manifest.events, dataset.manifest.users, dataset.manifest.items) == (42, 4, 5)
    with pytest.raises(OutputError, match="already exists"):
        store.export(tmp_path / "export")


def test_an_empty_store_can_be_exported(store: EventStore, tmp_path: Path) -> None:
    assert store.export(tmp_path / "export") == {"events": 0, "items": 0, "impressions": 0}
