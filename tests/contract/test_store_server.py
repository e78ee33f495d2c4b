"""Items at run time, models, workers and keys: what every event store must keep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import JsonValue
from store_helpers import HOUR, Open, now

from onward.errors import ConflictError, DataError
from onward.serve.store.protocol import (
    Deployment,
    EventStore,
    ItemRecord,
    KeyRecord,
)


def test_items_at_run_time(store: EventStore, reopen: Open) -> None:
    reader = reopen()
    assert (reader.items_version(), reader.items()) == (0, [])
    comedy = ItemRecord("b", {"genre": "Comedy", "price": 3.5})
    first = store.put_items([comedy, ItemRecord("a", {"tags": ["x", None]})])
    assert reader.items_version() == first
    assert [record.id for record in reader.items()] == ["a", "b"]
    assert reader.items(["b", "unknown"]) == [comedy]
    second = store.delete_items(["b", "never-heard-of"])
    changed, version = reader.items_changed(first)
    assert version == second > first
    assert changed == [replace(comedy, deleted=True), ItemRecord("never-heard-of", {}, True)]
    store.put_items([ItemRecord("b")])
    assert reader.items(["b"]) == [ItemRecord("b")]
    assert reader.items_changed(reader.items_version()) == ([], reader.items_version())


@pytest.mark.parametrize("value", [float("nan"), "\ud800", ["\udfff"], {"\ud800": 1}])
def test_features_that_are_no_json_change_nothing(store: EventStore, value: JsonValue) -> None:
    with pytest.raises(DataError, match="the features of item 'b' can't be stored"):
        store.put_items([ItemRecord("a"), ItemRecord("b", {"price": value})])
    assert store.items_version() == 0


def test_a_model_is_switched_in_two_phases(store: EventStore, reopen: Open) -> None:
    reader = reopen()
    assert reader.deployment() == Deployment()
    assert store.propose("m1").target == "m1"
    assert reader.deployment() == Deployment(target="m1")
    with pytest.raises(ConflictError, match="'m1' is on its way"):
        reader.propose("m2")
    assert reader.flip(0) == Deployment("m1", None, None, 1) == store.deployment()
    with pytest.raises(ConflictError, match="no model is proposed"):
        store.flip(1)
    with pytest.raises(ConflictError, match="no previous"):
        store.rollback()
    store.propose("m2")
    with pytest.raises(ConflictError, match="generation is 1, not 0"):
        store.flip(0)
    store.flip(1)
    assert store.rollback() == Deployment("m1", "m2", None, 3) == reader.deployment()
    store.propose("m3")
    assert store.withdraw("it gave NaN") == Deployment("m1", "m2", None, 3, "it gave NaN")
    assert store.propose("m3").reason is None
    assert store.flip(3) == Deployment("m3", "m1", None, 4)


def test_two_switches_at_once_and_one_wins(store: EventStore, reopen: Open) -> None:
    store.propose("m1")

    def flip(one: EventStore) -> bool:
        try:
            one.flip(0)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(flip, [store, reopen(), store, reopen()])) == 1
    assert store.deployment().generation == 1


def test_workers_announce_what_they_have_loaded(store: EventStore, reopen: Open) -> None:
    before = now()
    store.announce("w2", 12, 1, None, "ready")
    reopen().announce("w1", 11, 1, "m2", "ready")
    store.announce("w2", 12, 1, "m2", "ready")
    assert [(one.id, one.pid, one.target) for one in store.workers(before)] == [("w1", 11, "m2"), ("w2", 12, "m2")]
    assert store.workers(now() + HOUR) == []
    store.leave("w1")
    assert [one.id for one in store.workers()] == ["w2"]


def test_api_keys(store: EventStore, reopen: Open) -> None:
    reader = reopen()
    version = reader.keys_version()
    record = KeyRecord("k1", "the shop", "write", b"\x00\xffhash", 5)
    store.add_key(record)
    assert reader.keys_version() > version
    with pytest.raises(ConflictError, match="k1"):
        store.add_key(record)
    assert reader.key_records() == [record]
    version = reader.keys_version()
    assert store.revoke_key("k1")
    assert reader.keys_version() > version
    (revoked,) = reader.key_records()
    assert revoked.revoked is not None
    assert not store.revoke_key("k2")
