"""PostgreSQL: for several machines that write. The tables lie in a schema `onward` of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from onward.errors import ConfigError, DataError, MissingExtraError, OnwardError, StoreError
from onward.serve.store.database import Dialect, Row, Transaction
from onward.serve.store.dump import dump

if TYPE_CHECKING:
    import psycopg

WRITER_LOCK = 5_781_204_915
"""Key of the advisory lock that a writer holds from the beginning of its transaction until after the commit is seen."""
CONNECT_SECONDS = 5
DIALECT = Dialect(
    {
        "key": "BIGINT PRIMARY KEY",
        "int": "BIGINT",
        "real": "DOUBLE PRECISION",
        "bytes": "BYTEA",
        "strict": "",
        "keyed": "",
        "tables": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'onward'",
        "texts": "jsonb_array_elements_text(?::jsonb) AS given(value)",
        "rows": "jsonb_array_elements(?::jsonb) AS given(value)",
        "packed": "encode(string_agg(int8send(time) || int8send(seq) || int4send(item_key::integer) || "
        "int2send(action_key::smallint) || int2send((value IS NOT NULL)::integer::smallint), ''::bytea), 'hex')",
        "values": "string_agg(value::text, ',')",
        "item_keys": "string_agg(item_key::text, ',')",
    },
    "%s",
)
_SESSION = (
    "SET synchronous_commit = on",
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET client_min_messages = warning",
    "SET search_path = onward",
)


class PostgresDatabase:
    """A store's database. The writer has a connection, and as many others are open as threads have read at once.

    Lost connections are made again.

    Args:
        url: `postgresql://user:password@host:port/database`.
        create: whether to make the schema where there is none.

    Raises:
        MissingExtraError: psycopg isn't installed.
        ConfigError: the server runs without fsync, or the role may not make the schema.
        StoreError: the server can't be reached.
    """

    backend: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, url: str, create: bool = True) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtraError("psycopg", "postgres") from None
        self._psycopg = psycopg
        self._url = url
        self._idle: list[psycopg.Connection[Row]] = []
        self._closed = False
        self._writer: psycopg.Connection[Row] | None = None
        if self.read("SELECT current_setting('fsync')") != [("on",)]:
            self.close()
            raise ConfigError(
                "this PostgreSQL runs with fsync off: after a power loss it would lose acknowledged events",
                "set fsync = on in its configuration",
            )
        if create:
            try:
                self._make_schema()
            except BaseException:
                self.close()
                raise

    def _make_schema(self) -> None:
        if self.read("SELECT 1 FROM pg_namespace WHERE nspname = 'onward'"):
            return  # making it again needs rights that a role may lack whose schema somebody else made
        try:
            with suppress(self._psycopg.errors.UniqueViolation):  # another process was faster
                self._idle[-1].execute("CREATE SCHEMA IF NOT EXISTS onward")
        except self._psycopg.errors.InsufficientPrivilege:
            raise ConfigError(
                "this role may not make the schema 'onward' in this database",
                "let its owner run: CREATE SCHEMA onward AUTHORIZATION the-role",
            ) from None
        except self._psycopg.Error as error:
            raise self._explain(error) from None

    def _connect(self) -> psycopg.Connection[Row]:
        if self._closed:
            raise StoreError("the event store is closed")
        connection = self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="onward",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        for statement in _SESSION:
            connection.execute(statement)
        return connection

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query over what is committed; connections that were lost meanwhile are passed over."""
        try:
            while self._idle:
                with suppress(IndexError):  # another thread was faster
                    connection = self._idle.pop()
                    try:
                        return self._fetch(connection, sql, parameters)
                    except self._psycopg.Error:
                        if not connection.closed:
                            raise
            return self._fetch(self._connect(), sql, parameters)
        except self._psycopg.Error as error:
            raise self._explain(error) from None

    def _fetch(self, connection: psycopg.Connection[Row], sql: str, parameters: Sequence[Any]) -> list[Row]:
        try:
            return connection.execute(DIALECT.fill(sql), parameters).fetchall()
        finally:
            if not connection.closed:
                self._idle.append(connection)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A write transaction. It waits for the others: commits, and so `seq`, follow the order of the lock."""
        try:
            if self._writer is None or self._writer.closed:
                self._writer = self._connect()
            with self._writer.transaction():
                self._writer.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
                yield _PostgresTransaction(self._writer)
        except self._psycopg.Error as error:
            raise self._explain(error) from None

    def tidy(self) -> None:
        """PostgreSQL does its own."""

    def erase(self, text: str) -> tuple[bool, tuple[str, ...]]:
        """Rewrite the tables that hold what people did, so that their files keep no deleted row."""
        tables = "users, events, used_ids, impressions, shown, clicks"
        try:
            if self._writer is None or self._writer.closed:
                self._writer = self._connect()
            self._writer.execute("SET statement_timeout = 0")
            try:
                self._writer.execute(f"VACUUM (FULL) {tables}")
            finally:
                if not self._writer.closed:
                    self._writer.execute("SET statement_timeout = '60s'")
        except self._psycopg.Error as error:
            return False, (f"the tables could not be rewritten: {self._explain(error).message}", *_LEFT)
        return True, ("the tables were rewritten without the deleted rows", *_LEFT)

    def backup(self, path: Path) -> None:
        """See `dump`."""
        dump(self._url, path)

    def sizes(self) -> tuple[int, int | None]:
        """Bytes of the tables and indexes; the log is the whole server's."""
        found = self.read(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'onward' AND c.relkind = 'r'"
        )
        return int(found[0][0]), None

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for connection in (self._writer, *self._idle):
            if connection is not None:
                connection.close()

    def _explain(self, error: psycopg.Error) -> OnwardError:
        if isinstance(error, self._psycopg.errors.DiskFull):
            return StoreError(
                "the event store can't be written: the disk of PostgreSQL is full",
                "free space there: writing goes on by itself, and nothing that was acknowledged is lost",
            )
        if isinstance(error, self._psycopg.errors.LockNotAvailable):
            return StoreError("the event store was locked by another writer for 10 seconds", "try again")
        if isinstance(error, self._psycopg.DataError):
            return DataError(f"PostgreSQL can't hold this: {error}", "leave out NUL characters")
        said = str(error).strip().splitlines()
        return StoreError(
            f"PostgreSQL can't be used now: {said[0] if said else type(error).__name__}",
            "the store connects again by itself; what was sent may be sent again with the same ids",
        )


_LEFT = (
    "PostgreSQL's write-ahead log keeps the deleted rows until its segments are used again",
    "archived log segments, replicas and dumps are the operator's",
)


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, with what this transaction wrote."""
        return self._connection.execute(DIALECT.fill(sql), parameters).fetchall()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; returns the rows that it changed."""
        return self._connection.execute(DIALECT.fill(sql), parameters).rowcount
