"""SQLite: one file and its write-ahead log, synced at every commit; for one machine, for several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import apsw

from onward.errors import ConfigError, FormatError, OnwardError, OutputError, StoreError
from onward.files import atomic_file
from onward.serve.store.database import Dialect, Row, Transaction
from onward.serve.store.erase import erase

OLDEST = (3, 51, 3)
"""Older libraries can corrupt a file in WAL mode when a checkpoint and a commit meet (sqlite.org/wal.html)."""
BUSY_MS = 10_000
"""A lock of another process is waited for so long."""
CHECKPOINT_PAGES = 1_000
"""Pages in the log (4 KiB each) from which it is copied into the file after a commit."""
LOG_PAGES = 32_000
"""Pages from which that waits for readers a little, so that the log starts again from its beginning."""
READERS_MS = 100
"""How long: nothing is written meanwhile."""
CHECKED_BYTES = 268_435_456
"""Files up to this size are checked whole when they are opened (a fraction of a second)."""
DIALECT = Dialect(
    {
        "key": "INTEGER PRIMARY KEY",
        "int": "INTEGER",
        "real": "REAL",
        "bytes": "BLOB",
        "strict": "STRICT",
        "keyed": "STRICT, WITHOUT ROWID",
        "tables": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        "texts": "json_each(?) AS given",
        "rows": "json_each(?) AS given",
        "packed": "group_concat("
        "printf('%016x%016x%08x%04x%04x', time, seq, item_key, action_key, value IS NOT NULL), '')",
        "values": "group_concat(value)",
        "item_keys": "group_concat(item_key)",
    },
    "?",
)
_CORRUPT_HINT = (
    "stop every server on it; put back the newest backup (onward store backup makes them), or save what can be read: "
    "sqlite3 FILE .recover | sqlite3 NEW"
)


class SqliteDatabase:
    """A store's file. The writer has a connection, and as many others are open as threads have read at once.

    Args:
        path: of the file; made where there is none, with its folder, if `create`.
        vfs: SQLite's name of the file system layer; the default one if empty.

    Raises:
        ConfigError: the library is too old.
        FormatError: no database, or a corrupt one.
        OutputError: it can't be made or opened there.
    """

    backend: Literal["sqlite", "postgresql"] = "sqlite"

    def __init__(self, path: Path, create: bool = True, vfs: str = "") -> None:
        refuse_old_library(apsw.sqlite_lib_version())
        self.path = path
        self._vfs = vfs
        self._idle: list[apsw.Connection] = []
        self._closed = False
        self._log_pages = 0
        self._next_checkpoint = CHECKPOINT_PAGES
        if not create and not path.is_file():
            raise FormatError(f"there is no store at {path}", "give the path of the file that the server writes to")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._check()
            self._use_log()
        except OSError as error:
            raise OutputError(f"can't make a store at {path}: {error.strerror}", "choose another place") from None
        except apsw.Error as error:
            raise self._explain_opening(error) from None
        self._writer.set_wal_hook(self._count_log)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs or None)
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", "on")
        connection.pragma("cache_size", -16_384)
        connection.wal_autocheckpoint(0)
        return connection

    def _check(self) -> None:
        if self.path.stat().st_size <= CHECKED_BYTES:
            found = self._writer.pragma("quick_check", 1)
            if found != "ok":
                raise FormatError(f"the store {self.path} is corrupt: {found}", _CORRUPT_HINT)

    def _use_log(self) -> None:
        tables = {name for (name,) in self._writer.execute(DIALECT.fill("{tables}"))}
        if tables and "meta" not in tables:
            return  # something else's: it is refused as it is
        mode = self._writer.pragma("journal_mode", "wal")
        if mode != "wal":
            raise OutputError(
                f"SQLite can't keep a write-ahead log beside {self.path}",
                "choose a disk of this machine, not a network's",
            )

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query over what is committed."""
        if self._closed:
            raise StoreError("the event store is closed")
        try:
            try:
                connection = self._idle.pop()  # the list's own lock is enough
            except IndexError:
                connection = self._connect()
            try:
                return connection.execute(DIALECT.fill(sql), parameters).fetchall()
            finally:
                self._idle.append(connection)
        except apsw.Error as error:
            raise self._explain(error) from None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction; the log is synced before the block is left."""
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(writer)
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:  # a full disk ends it by itself
                    writer.execute("ROLLBACK")
                raise
        except apsw.Error as error:
            raise self._explain(error) from None

    def _count_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def tidy(self) -> None:
        """Copy a long log into the file. A failure loses nothing: the log holds it all until it could be copied."""
        pages = self._log_pages
        if pages < self._next_checkpoint:
            return
        long = pages >= LOG_PAGES
        mode = apsw.SQLITE_CHECKPOINT_RESTART if long else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._next_checkpoint = pages + CHECKPOINT_PAGES  # a reader (a backup, say) may hold it up: not at every commit
        self._writer.set_busy_timeout(READERS_MS)
        with suppress(apsw.Error):
            logged, copied = self._writer.wal_checkpoint(mode=mode)
            if copied == logged:  # the next commit begins the log again
                self._next_checkpoint = CHECKPOINT_PAGES
        self._writer.set_busy_timeout(BUSY_MS)

    def erase(self, text: str) -> tuple[bool, tuple[str, ...]]:
        """See `sqlite_erase`."""
        try:
            return erase(self._writer, self.path, text)
        except apsw.Error as error:
            raise self._explain(error) from None

    def backup(self, path: Path) -> None:
        """Copy the file page by page as of one moment, check the copy, and put it in place."""
        with atomic_file(path) as new:
            try:
                source = self._connect()
                # a read transaction held open: commits go on beside it, and the copy need not start over
                source.execute("BEGIN; SELECT count(*) FROM meta").fetchall()
                copy = apsw.Connection(str(new))
                with copy.backup("main", source, "main") as backup:
                    backup.step(-1)
                copy.pragma("journal_mode", "delete")  # one file, without a log beside it
                found = copy.pragma("integrity_check")
                copy.close()
                source.close()
            except apsw.FullError:
                raise OutputError(f"can't write {path}: the disk is full", "free space, or choose another") from None
            except apsw.Error as error:
                raise self._explain(error) from None
            if found != "ok":
                raise FormatError(
                    f"the store {self.path} is corrupt, and so would be its backup: {found}", _CORRUPT_HINT
                )

    def sizes(self) -> tuple[int, int | None]:
        """Bytes of the file and of its log."""
        log = self.path.with_name(self.path.name + "-wal")
        return self.path.stat().st_size, log.stat().st_size if log.exists() else 0

    def close(self) -> None:
        """Close every connection; the last one of all processes copies the log into the file and removes it."""
        self._closed = True
        for connection in (self._writer, *self._idle):
            connection.close()

    def _explain_opening(self, error: apsw.Error) -> OnwardError:
        if isinstance(error, apsw.NotADBError):
            return FormatError(f"{self.path} is not an SQLite database, or its first page is damaged", _CORRUPT_HINT)
        if isinstance(error, apsw.CorruptError):
            return FormatError(f"the store {self.path} is corrupt: {error}", _CORRUPT_HINT)
        if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError | apsw.PermissionsError | apsw.FullError):
            return OutputError(f"can't open the store {self.path} for writing: {error}", "choose another place")
        return self._explain(error)

    def _explain(self, error: apsw.Error) -> StoreError:
        if isinstance(error, apsw.FullError):
            return StoreError(
                f"the event store {self.path} can't be written: the disk is full",
                "free space: writing goes on by itself, and nothing that was acknowledged is lost",
            )
        if isinstance(error, apsw.BusyError | apsw.LockedError):
            return StoreError(
                f"the event store {self.path} was locked by another process for {BUSY_MS // 1000} seconds",
                "try again; a backup or a forgetting may hold it, or a process that hangs",
            )
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            return StoreError(f"the event store {self.path} is corrupt: {error}", _CORRUPT_HINT)
        return StoreError(
            f"the event store {self.path} can't be used now: {type(error).__name__}: {error}", "try again"
        )


class _SqliteTransaction:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, with what this transaction wrote."""
        return self._connection.execute(DIALECT.fill(sql), parameters).fetchall()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; returns the rows that it changed."""
        self._connection.execute(DIALECT.fill(sql), parameters)
        return self._connection.changes()


def refuse_old_library(version: str) -> None:
    """Raise ConfigError for an SQLite library that is too old to be trusted with a write-ahead log."""
    if tuple(int(part) for part in version.split(".")[:3]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise ConfigError(
            f"the SQLite library is {version}, and the event store needs {needed} or newer: older ones can damage "
            "a file that several connections write",
            "update apsw: pip install --upgrade apsw",
        )
