"""The event store: its protocol, and how one is opened. `values` holds what goes in and out.

All methods may be called from any thread, and every write goes through one writer thread a process, which commits
what waits together and answers after the commit. Times are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from onward.data.sequences import Ints
from onward.serve.settings import ImpressionsConfig, RetentionConfig
from onward.serve.store.values import (
    FUTURE_LIMIT,
    ID_DAYS,
    MAX_ID_BYTES,
    Clicks,
    ClickThrough,
    Copy,
    Deployment,
    Event,
    Impression,
    ItemRecord,
    KeyRecord,
    Outcome,
    Receipt,
    Retained,
    Role,
    Status,
    StoredEvent,
    StoredHistory,
    StoreStats,
    Worker,
)

__all__ = [
    "FUTURE_LIMIT",
    "ID_DAYS",
    "MAX_ID_BYTES",
    "ClickThrough",
    "Clicks",
    "Copy",
    "Deployment",
    "Event",
    "EventStore",
    "Impression",
    "ItemRecord",
    "KeyRecord",
    "Outcome",
    "Receipt",
    "Retained",
    "Role",
    "Status",
    "StoreStats",
    "StoredEvent",
    "StoredHistory",
    "Worker",
    "open_store",
    "place",
]


class EventStore(Protocol):
    """Events, impressions, items, models and keys of a server. Any method may raise StoreError: try again later."""

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """Store events and return when they are durable; one outcome an event, in order.

        Raises StoreError when the store can't take them now (disk full, database gone): nothing is acknowledged, and
        the same events may be sent again whatever became of them.
        """
        ...

    def append_soon(self, events: Sequence[Event], done: Callable[[list[Outcome] | Exception], None]) -> None:
        """The same without waiting: `done` is told the outcomes, or what went wrong.

        Args:
            done: called on the store's own thread; it must neither wait nor raise.
        """
        ...

    def history(self, user: str, limit: int, before: int | None = None) -> StoredHistory:
        """The newest `limit` events of a user, of those before a time if one is given; sees every acknowledged one."""
        ...

    def histories(self, users: Sequence[str], limit: int, before: int | None = None) -> list[StoredHistory]:
        """`history` of several users, in their order, as of one moment."""
        ...

    def seen(
        self,
        user: str,
        since: int | None = None,
        actions: Collection[str] | None = None,
        before: int | None = None,
    ) -> Ints:
        """Item keys, each once, of a user's whole history: of events at or after a time, of some actions, before a
        time, if given."""
        ...

    def groups(self, seqs: Ints) -> dict[int, str]:
        """Names of the groups of the events with these (n,) int64 `seq`s; events without one are left out."""
        ...

    def event_features(self, seqs: Ints) -> dict[int, dict[str, JsonValue]]:
        """Features of the events with these (n,) int64 `seq`s, name -> JSON value; events without any are left out."""
        ...

    def item_keys(self, ids: Sequence[str]) -> Ints:
        """(n,) int64 keys of items; 0 for an id that no event or catalog record of the store has named."""
        ...

    def items_after(self, key: int) -> list[tuple[int, str]]:
        """(key, id) of all items with a larger key, ascending: to build and extend the array from key to index."""
        ...

    def action_names(self) -> list[str]:
        """Names of actions by key; place 0 is empty."""
        ...

    def popular(self, since: int, limit: int) -> list[tuple[int, int]]:
        """(item key, events at or after a time), most first, ties by key."""
        ...

    def put_items(self, records: Sequence[ItemRecord]) -> int:
        """Add or replace items of the run-time catalog; returns the new version of the catalog."""
        ...

    def delete_items(self, ids: Sequence[str]) -> int:
        """Mark items deleted, known to the catalog or not; returns the new version of the catalog."""
        ...

    def items(self, ids: Sequence[str] | None = None) -> list[ItemRecord]:
        """Records of these items that the run-time catalog has (all by default), ordered by id."""
        ...

    def items_changed(self, version: int) -> tuple[list[ItemRecord], int]:
        """Records that changed after a version, deleted ones too, and the version they bring a reader to."""
        ...

    def items_version(self) -> int:
        """Version of the run-time catalog; cheap."""
        ...

    def log_impressions(self, impressions: Sequence[Impression], durable: bool) -> None:
        """Keep lists that were answered.

        Args:
            durable: return when they are committed (a randomised policy needs that); all are kept. Otherwise they
                are sampled, buffered and written soon; what a full buffer can't take is counted as lost.
        """
        ...

    def record_shown(self, request_id: str, user: str | None, items: Sequence[str]) -> None:
        """A client says that it showed these items of a list; returns when durable. A repetition changes nothing."""
        ...

    def click_through(self, since: int) -> Clicks:
        """Click-through of the lists answered at or after a time, by model, and the unattributed clicks since then."""
        ...

    def since(self, cursor: int, limit: int) -> tuple[list[StoredEvent], int]:
        """Events with a `seq` above the cursor, ascending, and the next cursor. Never skips: seq follows commits."""
        ...

    def last_seq(self) -> int:
        """The highest `seq` given so far; 0 before the first event. Cheap."""
        ...

    def deployment(self) -> Deployment:
        """Which model serves; cheap, made to be read with every batch of requests."""
        ...

    def propose(self, model: str) -> Deployment:
        """Phase one of a switch: workers load this model. Raises ConflictError while another target is on its way."""
        ...

    def flip(self, expected_generation: int) -> Deployment:
        """Phase two: the target becomes active, and the generation rises by one.

        Raises ConflictError when the generation isn't the expected one any more, or there is no target.
        """
        ...

    def withdraw(self, reason: str) -> Deployment:
        """Give the target up; the active model goes on serving."""
        ...

    def rollback(self) -> Deployment:
        """Active and previous model change places and the generation rises. Raises ConflictError without a previous."""
        ...

    def announce(self, worker: str, pid: int, generation: int, target: str | None, state: str) -> None:
        """A worker says what it has loaded; to be repeated every few seconds."""
        ...

    def leave(self, worker: str) -> None:
        """A worker stops; it isn't waited for any more."""
        ...

    def workers(self, since: int = 0) -> list[Worker]:
        """Workers that announced something at or after a time, ordered by id."""
        ...

    def add_key(self, record: KeyRecord) -> None:
        """Keep a key. Raises ConflictError when the id is taken."""
        ...

    def key_records(self) -> list[KeyRecord]:
        """All keys, revoked ones too, in order of creation."""
        ...

    def revoke_key(self, key: str) -> bool:
        """Revoke a key by its id; False when there is no such key."""
        ...

    def keys_version(self) -> int:
        """Rises with every change of the keys; cheap."""
        ...

    def forget(self, user: str, models: Iterable[Path] = ()) -> Receipt:
        """Remove everything of a user; events of that user up to now are rejected from then on.

        Args:
            models: bundle folders that the receipt names where they hold rows of training users.
        """
        ...

    def retain(self, days: float | None, events_a_user: int | None) -> Retained:
        """Remove events received (and lists answered) more than so many days ago, and all but the newest so many
        events of a user."""
        ...

    def stats(self) -> StoreStats:
        """Counts and sizes."""
        ...

    def backup(self, path: Path) -> None:
        """Write a sound copy of the store to a new file while it is in use, and verify it.

        In PostgreSQL it is an archive of `pg_dump`. Raises OutputError when the path is taken or can't be written,
        ConfigError where that tool isn't installed.
        """
        ...

    def export(self, folder: Path) -> dict[str, int]:
        """Write a new folder with events.parquet, items.parquet and impressions.parquet; returns the rows of each.

        Raises OutputError when the folder exists or can't be written.
        """
        ...

    def close(self) -> None:
        """Write what waits and close; further calls raise StoreError."""
        ...


def open_store(
    url: str | Path,
    impressions: ImpressionsConfig | None = None,
    create: bool = True,
    retention: RetentionConfig | None = None,
) -> EventStore:
    """Open a store.

    Args:
        url: path of an SQLite file, or `postgresql://...`.
        impressions: sampling and buffer of lists, and how long after its list a click counts.
        create: whether to make the store where there is none.
        retention: what is removed at intervals, by one process of the store at a time; nothing by default.

    Raises:
        FormatError: the file is no store, is corrupt, or was written by a newer version.
        OutputError: the place can't be written.
        StoreError: PostgreSQL can't be reached.
        MissingExtraError: PostgreSQL without psycopg.
        ConfigError: an SQLite library older than 3.51.3, or a URL of an unknown kind.
    """
    from onward.serve.store.sql import SqlStore, open_database

    database = open_database(str(url), create)
    return SqlStore(database, place(str(url)), impressions or ImpressionsConfig(), create, retention)


def place(url: str) -> str:
    """A store's path or URL as it may be shown: without a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    return f"{scheme}://{rest.rpartition('@')[2]}"
