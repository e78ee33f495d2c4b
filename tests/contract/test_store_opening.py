"""Opening every kind of event store: older, newer, somebody else's, several at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_helpers import Open, event, impression, items

from onward.errors import ConfigError, FormatError, MissingExtraError, StoreError
from onward.serve.store import tables
from onward.serve.store.protocol import (
    open_store,
)
from onward.serve.store.sql import open_database

UNDO = (
    "ALTER TABLE events DROP COLUMN features",
    "DROP INDEX events_received",
    "DROP TABLE copies",
    "ALTER TABLE impressions DROP COLUMN sample",
    "UPDATE meta SET value = '1' WHERE name = 'version'",
    "INSERT INTO impressions(request_id, user_id, time, model, policy, items) "
    "VALUES ('old', 'ann', 5, 'm1', 'top', '[\"tea\"]')",
)
"""What leads back to the tables of version 1, and a row of then."""


def test_a_store_of_version_1_is_brought_forward(url: str, reopen: Open) -> None:
    store = reopen()
    store.append([event(1)])
    store.close()
    database = open_database(url, False)
    with database.transaction() as transaction:
        for statement in UNDO:
            transaction.run(statement)
    with pytest.raises(StoreError):
        database.read("SELECT sample FROM impressions")
    database.close()
    store = reopen()
    assert items(store, "ann") == ["tea"]
    assert store.append([event(1)])[0].status == "duplicate"
    database = open_database(url, False)
    assert database.read("SELECT sample FROM impressions") == [(1.0,)]
    assert database.read("SELECT value FROM meta WHERE name = 'version'") == [(str(tables.VERSION),)]
    database.close()
    store.log_impressions([impression("new")], durable=True)
    assert store.stats().impressions == 2


def test_a_newer_store_is_refused(url: str, reopen: Open) -> None:
    reopen().close()
    database = open_database(url, False)
    with database.transaction() as transaction:
        transaction.run("UPDATE meta SET value = '99' WHERE name = 'version'")
    database.close()
    with pytest.raises(FormatError, match="newer onward: its tables are version 99"):
        open_store(url)


def test_several_processes_may_make_a_store_at_once(url: str, reopen: Open) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: reopen(), range(6)))
    stores[0].append([event(1)])
    assert [len(store.history("ann", 5)) for store in stores] == [1] * 6


def test_a_database_of_something_else_is_refused(url: str) -> None:
    database = open_database(url, True)
    with database.transaction() as transaction:
        transaction.run("CREATE TABLE sheep (name TEXT)")
    database.close()
    before = b"" if url.startswith("postgresql") else Path(url).read_bytes()
    with pytest.raises(FormatError, match="not a store of onward"):
        open_store(url)
    assert url.startswith("postgresql") or Path(url).read_bytes() == before


def test_reading_does_not_make_a_store(url: str) -> None:
    with pytest.raises(FormatError):
        open_store(url, create=False)
    assert url.startswith("postgresql") or not Path(url).exists()


def test_postgresql_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match="psycopg") as missing:
        open_store("postgresql://here/there")
    assert "onward[postgres]" in missing.value.hint


def test_a_postgresql_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="PostgreSQL can't be used now"):
        open_store(f"postgresql://me:secret@/db?host={tmp_path}")


def test_a_role_of_postgresql_with_few_rights(postgres_url: str) -> None:
    """It may use a schema that is its own already; without one it is told what to do."""
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS poor")
        owner.execute("CREATE ROLE poor LOGIN")
        try:
            poor = psycopg.conninfo.make_conninfo(postgres_url, user="poor")
            parts = psycopg.conninfo.conninfo_to_dict(poor)
            url = f"postgresql://poor@/{parts['dbname']}?host={parts['host']}"
            with pytest.raises(ConfigError, match="may not make the schema 'onward'"):
                open_store(url)
            owner.execute("CREATE SCHEMA onward AUTHORIZATION poor")
            store = open_store(url)
            assert store.append([event(1)])[0].status == "stored"
            store.close()
        finally:
            owner.execute("DROP OWNED BY poor")
            owner.execute("DROP ROLE poor")


@pytest.mark.parametrize("wrong", ["mysql://here/there", "sqlite:///store.db"])
def test_an_unknown_kind_of_store(wrong: str) -> None:
    with pytest.raises(ConfigError, match="no kind of store"):
        open_store(wrong)
