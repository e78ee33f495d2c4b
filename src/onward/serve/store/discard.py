"""A store that a command made and never used is removed again when the command fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from onward.errors import OnwardError
from onward.serve.store.database import Database, Reader
from onward.serve.store.sql import open_database

_KEPT = ("events", "users", "impressions", "shown", "catalog", "api_keys", "tombstones", "copies")
"""Tables of which a row is somebody's data."""
_USED = (
    f"SELECT {' OR '.join(f'EXISTS (SELECT 1 FROM {table})' for table in _KEPT)} "
    "OR EXISTS (SELECT 1 FROM deployment WHERE active IS NOT NULL)"
)
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'onward' AND pid NOT IN (pg_backend_pid(), ?)"
)
_LEAVING_SECONDS = 2.0
"""PostgreSQL knows of a connection for a moment after it was closed."""


@contextmanager
def discarded_on_failure(url: str) -> Iterator[None]:
    """If the block fails, a store that wasn't there before is removed: an SQLite file with the folders that were made
    for it, the tables in PostgreSQL with the schema that was made for them.

    It stays where another process has it open, or anything was kept in it: another command may have come between.

    Raises what `open_store` does for a PostgreSQL that can't be used.
    """
    with _new_tables(url) if "://" in url else _new_file(Path(url)):
        yield


@contextmanager
def _new_file(path: Path) -> Iterator[None]:
    there = path.exists()
    folders = [folder for folder in path.parents if not folder.exists()]
    try:
        yield
    except BaseException:
        if not there and path.is_file():
            with suppress(apsw.Error, OSError):
                if _remove_file(path):
                    for folder in folders:  # the innermost first; one that holds something else stays
                        folder.rmdir()
        raise


def _remove_file(path: Path) -> bool:
    """Remove a store that nobody uses and that holds nothing. Raises apsw.Error where somebody has it open."""
    store = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        store.pragma("journal_mode", "delete")  # leaves no log beside the file; refused while another has it open
        store.execute("BEGIN EXCLUSIVE")
        made = store.execute("SELECT count(*) FROM sqlite_schema").fetchall() != [(0,)]
        unused = not made or store.execute(_USED).fetchall() == [(0,)]
        if unused:
            path.unlink()
        return unused
    finally:
        store.close()


@contextmanager
def _new_tables(url: str) -> Iterator[None]:
    with closing(open_database(url, create=False)) as database:
        schema, tables = _schema_there(database), database.read("{tables}")
    try:
        yield
    except BaseException:
        if not tables:
            with suppress(OnwardError), closing(open_database(url, create=False)) as database:
                _remove_tables(database, schema)
        raise


def _remove_tables(database: Database, schema: bool) -> None:
    """Remove a store that nobody uses and that holds nothing; its schema too, unless it was there before."""
    (own,) = database.read("SELECT pg_backend_pid()")[0]
    until = time.monotonic() + _LEAVING_SECONDS
    while True:
        with database.transaction() as transaction:
            if transaction.read(_OTHERS, (own,)) == [(0,)]:
                made = [name for (name,) in transaction.read("{tables}")]
                if not made or transaction.read(_USED) == [(False,)]:
                    for table in made:
                        transaction.run(f"DROP TABLE {table}")
                    if not schema and _schema_there(transaction):
                        transaction.run("DROP SCHEMA onward")
                return
        if time.monotonic() > until:
            return
        time.sleep(0.05)


def _schema_there(reader: Reader) -> bool:
    return bool(reader.read("SELECT 1 FROM pg_namespace WHERE nspname = 'onward'"))
