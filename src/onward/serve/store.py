"""The event store: its protocol and the values that go in and out. `sqlite.py` and `postgres.py` are the backends.

Times are int64 microseconds UTC. Users, items and actions have integer keys of the store's own, 1 and up, never a
model's indices; 0 is nobody and nothing. All methods may be called from any thread, and every write goes through one
writer thread a process, which commits what waits together and answers after the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.sequences import Ints
from onward.serve.settings import ImpressionsConfig, RetentionConfig

Status = Literal["stored", "duplicate", "conflict", "rejected"]
Role = Literal["read", "write", "admin"]

FUTURE_LIMIT = 5 * 60 * 1_000_000
"""Microseconds that an event's time may be ahead of the server's clock; beyond, the event is rejected."""
ID_DAYS = 30
"""Days that an event's id stays unique at least, from when it was received, even when retention removed the event."""
MAX_ID_BYTES = 1_024
"""Bytes (UTF-8) of the longest id of an event, user or item, and of the longest name of an action or group."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a client reports.

    Attributes:
        id: chosen by the client; the same id again is the same event, counted once.
        user, item: ids, text.
        time: microseconds UTC, the client's; None: when the server receives it.
        action: view, cart, buy...
        value: rating, quantity, seconds...; finite.
        request_id: of the recommendation that the event answers: such an event is a click.
        group: events of one user with one group happened together.
    """

    id: str
    user: str
    item: str
    time: int | None = None
    action: str | None = None
    value: float | None = None
    request_id: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event.

    Attributes:
        id: the event's.
        status: `stored`; `duplicate`: the id and the body were there already; `conflict`: the id was there with
            another body, and nothing changed; `rejected`: it can't be stored, see `reason`.
        seq: the event's place in the order of commits; None where nothing is stored any more, or never was.
        reason: of a conflict or a rejection, for people.
    """

    id: str
    status: Status
    seq: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the store holds it: what the client gave, with `seq`, and `received` by the server's clock."""

    seq: int
    id: str
    user: str
    item: str
    time: int
    received: int
    action: str | None
    value: float | None
    request_id: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """One user's events, oldest first by (time, seq); arrays of one length.

    Attributes:
        items: int64, the store's item keys.
        times: int64, microseconds UTC.
        actions: int64, keys of `action_names`; 0 where the event has no action.
        values: float32, NaN where the event has no value.
        seqs: int64.
    """

    items: Ints
    times: Ints
    actions: Ints
    values: NDArray[np.float32]
    seqs: Ints

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was answered.

    Attributes:
        request_id: unique.
        user: None for an explicit history of nobody.
        items: ids, best first; the place in the list is the position.
        policy: what chose the list, such as `top` or `explore`.
        propensities: of each item under a randomised policy; None where the policy is not random.
        model: name of the model on the server's shelf.
        time: microseconds UTC.
    """

    request_id: str
    user: str | None
    items: tuple[str, ...]
    policy: str
    propensities: tuple[float, ...] | None
    model: str
    time: int


@dataclass(frozen=True, slots=True)
class ClickThrough:
    """Of one model: lists logged, lists of those reported as shown, and clicks that count."""

    model: str
    lists: int
    shown: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Clicks:
    """Click-through of every model, and the clicks that belong to no logged list of that user, item and window."""

    models: tuple[ClickThrough, ...]
    unattributed: int


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item added or changed at run time.

    Attributes:
        id: the item's.
        features: name -> JSON value.
        deleted: it may not be recommended any more.
    """

    id: str
    features: dict[str, JsonValue] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which model serves.

    Attributes:
        active: name on the server's shelf; None before the first.
        previous: what `rollback` goes back to.
        target: what is about to be switched to: workers load and warm it, and announce that.
        generation: rises by one with every switch, and is what an answer's worker must have loaded.
        reason: why the last target was withdrawn; None after the next proposal.
    """

    active: str | None = None
    previous: str | None = None
    target: str | None = None
    generation: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """What one worker last announced.

    Attributes:
        id: unique among the workers of the store.
        pid: its process.
        generation: of the deployment that it answers with.
        target: name of the target that it has loaded and warmed, if any.
        state: `starting`, `ready`, `draining`...
        time: of the announcement, microseconds UTC.
    """

    id: str
    pid: int
    generation: int
    target: str | None
    state: str
    time: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the store keeps it, never the secret itself.

    Attributes:
        id: shown in lists, not secret.
        name: what the key is for.
        role: what it may do.
        hash: of the secret.
        created, revoked: microseconds UTC; `revoked` None while the key is good.
    """

    id: str
    name: str
    role: Role
    hash: bytes
    created: int
    revoked: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A backup or an export that was made of the store: where, when, and of which kind."""

    kind: Literal["backup", "export"]
    path: str
    time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What forgetting a user removed, and what is left for the operator.

    Attributes:
        user: id.
        time: microseconds UTC; events of this user up to then are rejected from now on.
        removed: table -> rows that were removed.
        overwritten: whether the freed places of the database and its log were overwritten.
        details: how, and what could not be overwritten.
        bundles: models whose weights hold a row for each training user (user-kNN, ALS): train them again without
            the user if their data had the user.
        copies: backups and exports made while the user's data was in the store: remove the user there too.
    """

    user: str
    time: int
    removed: dict[str, int]
    overwritten: bool
    details: tuple[str, ...]
    bundles: tuple[str, ...]
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True)
class Retained:
    """What one pass of retention removed."""

    events: int
    impressions: int
    users: int
    ids: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts and sizes.

    Attributes:
        backend: `sqlite` or `postgresql`.
        schema: version of the tables.
        oldest, newest: time of the first and last event, microseconds UTC; None without events.
        last_seq: the highest `seq` given.
        attributed, unattributed: clicks that belong to a logged list, and those that don't.
        impressions_lost: lists that were to be logged and were not, because the buffer was full.
        forgotten: users that were forgotten.
        bytes: of the database; `log_bytes` of its write-ahead log, None where that can't be told.
    """

    backend: str
    schema: int
    events: int
    users: int
    items: int
    oldest: int | None
    newest: int | None
    last_seq: int
    impressions: int
    shown: int
    attributed: int
    unattributed: int
    impressions_lost: int
    forgotten: int
    bytes: int
    log_bytes: int | None


class EventStore(Protocol):
    """Events, impressions, items, models and keys of a server. Any method may raise StoreError: try again later."""

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """Store events and return when they are durable; one outcome an event, in order.

        Raises StoreError when the store can't take them now (disk full, database gone): nothing is acknowledged, and
        the same events may be sent again whatever became of them.
        """
        ...

    def append_soon(self, events: Sequence[Event]) -> Future[list[Outcome]]:
        """The same without waiting; the future is done when the events are durable, and set by the writer thread."""
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
        """Remove events (and impressions) older than so many days, and all but the newest so many events of a user."""
        ...

    def stats(self) -> StoreStats:
        """Counts and sizes."""
        ...

    def backup(self, path: Path) -> None:
        """Write a sound copy of the store to a new file while it is in use, and verify it.

        Raises OutputError when the path is taken or can't be written, ConfigError where the backend has its own tool.
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
    from onward.serve.sql_store import SqlStore, open_database

    database = open_database(str(url), create)
    return SqlStore(database, place(str(url)), impressions or ImpressionsConfig(), create, retention)


def place(url: str) -> str:
    """A store's path or URL as it may be shown: without a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    return f"{scheme}://{rest.rpartition('@')[2]}"
