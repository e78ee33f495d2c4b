"""One event store over a database, SQLite or PostgreSQL: the parts, and who calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from pydantic import JsonValue

from onward.data.sequences import Ints
from onward.errors import ConfigError
from onward.serve.settings import ImpressionsConfig, RetentionConfig
from onward.serve.store import attribution, deployments, forgetting, histories, key_records, retention, run_items
from onward.serve.store.clock import Clock
from onward.serve.store.database import Database, Transaction, counter
from onward.serve.store.housekeeping import Housekeeper, take_turn
from onward.serve.store.impressions import ImpressionLog, record_shown
from onward.serve.store.ingest import Ingest, read_keys
from onward.serve.store.stats import read_stats
from onward.serve.store.tables import prepare_tables
from onward.serve.store.tombstones import Tombstones
from onward.serve.store.values import (
    Clicks,
    Copy,
    Deployment,
    Event,
    Impression,
    ItemRecord,
    KeyRecord,
    Outcome,
    Receipt,
    Retained,
    StoredEvent,
    StoredHistory,
    StoreStats,
    Worker,
)
from onward.serve.store.writer import Writer


def open_database(url: str, create: bool) -> Database:
    """The database of a path or URL (`store.open_store` says what may go wrong)."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        from onward.serve.store.sqlite import SqliteDatabase

        return SqliteDatabase(Path(url), create)
    if scheme in ("postgresql", "postgres"):
        from onward.serve.store.postgres import PostgresDatabase

        return PostgresDatabase(url, create)
    raise ConfigError(f"'{scheme}://' is no kind of store", "give the path of a file, or postgresql://...")


class SqlStore:
    """The event store (`store.EventStore` says what each method does)."""

    def __init__(
        self,
        database: Database,
        place: str,
        impressions: ImpressionsConfig,
        create: bool = True,
        retention: RetentionConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        try:
            prepare_tables(database, place, create)
            secret = database.read("SELECT value FROM meta WHERE name = 'secret'")[0][0]
        except BaseException:
            database.close()
            raise
        self._database = database
        self._clock = clock or Clock()
        self._tombstones = Tombstones(secret)
        self._log = ImpressionLog(impressions, self._tombstones)
        self._ingest = Ingest(self._tombstones, self._log.window)
        self._writer = Writer(database, self._store_events, self._log.flush, self._log.__len__)
        self._housekeeper = self._keep_house(retention) if retention is not None and retention.limited else None

    def _keep_house(self, config: RetentionConfig) -> Housekeeper:
        return Housekeeper(
            config.every_hours,
            lambda: self._writer.write(lambda transaction: take_turn(transaction, config, self._clock.now())),
            lambda: self.retain(config.days, config.events_a_user),
        )

    def _store_events(self, transaction: Transaction, events: Sequence[Event]) -> list[Outcome]:
        return self._ingest.store(transaction, events, self._clock.now())

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """Store events; returns when they are durable."""
        stored: SimpleQueue[list[Outcome] | Exception] = SimpleQueue()
        self._writer.append(events, stored.put)
        result = stored.get()
        if isinstance(result, Exception):
            raise result
        return result

    def append_soon(self, events: Sequence[Event], done: Callable[[list[Outcome] | Exception], None]) -> None:
        """Store events; `done` is told when they are durable."""
        self._writer.append(events, done)

    def history(self, user: str, limit: int, before: int | None = None) -> StoredHistory:
        """The newest events of a user, oldest first."""
        return histories.read_history(self._database, user, limit, before)

    def histories(self, users: Sequence[str], limit: int, before: int | None = None) -> list[StoredHistory]:
        """Histories of several users as of one moment."""
        return histories.read_histories(self._database, users, limit, before)

    def seen(
        self,
        user: str,
        since: int | None = None,
        actions: Collection[str] | None = None,
        before: int | None = None,
    ) -> Ints:
        """Distinct item keys of a user's whole history."""
        return histories.read_seen(self._database, user, since, actions, before)

    def groups(self, seqs: Ints) -> dict[int, str]:
        """Names of the groups of some events, by seq."""
        return histories.read_groups(self._database, seqs)

    def event_features(self, seqs: Ints) -> dict[int, dict[str, JsonValue]]:
        """Features of some events, by seq."""
        return histories.read_features(self._database, seqs)

    def item_keys(self, ids: Sequence[str]) -> Ints:
        """Keys of items; 0 for an unknown id."""
        found = dict(read_keys(self._database, "item", set(ids)))
        return np.array([found.get(name, 0) for name in ids], np.int64)

    def items_after(self, key: int) -> list[tuple[int, str]]:
        """(key, id) of all items with a larger key."""
        found = self._database.read("SELECT item_key, id FROM items WHERE item_key > ? ORDER BY item_key", (key,))
        return [(number, name) for number, name in found]

    def action_names(self) -> list[str]:
        """Names of actions by key."""
        found = self._database.read("SELECT id FROM actions ORDER BY action_key")
        return ["", *(name for (name,) in found)]

    def popular(self, since: int, limit: int) -> list[tuple[int, int]]:
        """(item key, events since), most first."""
        return histories.read_popular(self._database, since, limit)

    def put_items(self, records: Sequence[ItemRecord]) -> int:
        """Add or replace items of the run-time catalog."""
        return self._writer.write(lambda transaction: run_items.put_items(transaction, records))

    def delete_items(self, ids: Sequence[str]) -> int:
        """Mark items deleted."""
        return self._writer.write(lambda transaction: run_items.delete_items(transaction, ids))

    def items(self, ids: Sequence[str] | None = None) -> list[ItemRecord]:
        """Records of the run-time catalog."""
        return run_items.read_items(self._database, ids)

    def items_changed(self, version: int) -> tuple[list[ItemRecord], int]:
        """Records that changed after a version, and the version reached."""
        return run_items.read_changed(self._database, version)

    def items_version(self) -> int:
        """Version of the run-time catalog."""
        return counter(self._database, "catalog")

    def log_impressions(self, impressions: Sequence[Impression], durable: bool) -> None:
        """Keep lists that were answered."""
        if durable:
            self._writer.write(lambda transaction: self._log.write(transaction, impressions, 1.0))
        else:
            self._log.add(impressions)

    def record_shown(self, request_id: str, user: str | None, items: Sequence[str]) -> None:
        """Keep that a client showed these items of a list."""
        self._writer.write(lambda transaction: record_shown(transaction, request_id, user, items, self._clock.now()))

    def click_through(self, since: int) -> Clicks:
        """Click-through by model."""
        return attribution.click_through(self._database, since)

    def since(self, cursor: int, limit: int) -> tuple[list[StoredEvent], int]:
        """Events after a cursor in the order of commits."""
        return histories.read_since(self._database, cursor, limit)

    def last_seq(self) -> int:
        """The highest `seq` given so far."""
        return counter(self._database, "seq")

    def deployment(self) -> Deployment:
        """Which model serves."""
        return deployments.read_deployment(self._database)

    def propose(self, model: str) -> Deployment:
        """Phase one of a switch."""
        return self._writer.write(lambda transaction: deployments.propose(transaction, model))

    def flip(self, expected_generation: int) -> Deployment:
        """Phase two of a switch."""
        return self._writer.write(lambda transaction: deployments.flip(transaction, expected_generation))

    def withdraw(self, reason: str) -> Deployment:
        """Give the target up."""
        return self._writer.write(lambda transaction: deployments.withdraw(transaction, reason))

    def rollback(self) -> Deployment:
        """Back to the previous model."""
        return self._writer.write(deployments.rollback)

    def announce(self, worker: str, pid: int, generation: int, target: str | None, state: str) -> None:
        """A worker says what it has loaded."""
        said = Worker(worker, pid, generation, target, state, self._clock.now())
        self._writer.write(lambda transaction: deployments.announce(transaction, said))

    def leave(self, worker: str) -> None:
        """A worker stops."""
        self._writer.write(lambda transaction: deployments.leave(transaction, worker))

    def workers(self, since: int = 0) -> list[Worker]:
        """Workers that announced something at or after a time."""
        return deployments.read_workers(self._database, since)

    def add_key(self, record: KeyRecord) -> None:
        """Keep an API key."""
        self._writer.write(lambda transaction: key_records.add_key(transaction, record))

    def key_records(self) -> list[KeyRecord]:
        """All API keys."""
        return key_records.read_keys(self._database)

    def revoke_key(self, key: str) -> bool:
        """Revoke an API key."""
        now = self._clock.now()
        return self._writer.write(lambda transaction: key_records.revoke_key(transaction, key, now))

    def keys_version(self) -> int:
        """Version of the API keys."""
        return counter(self._database, "keys")

    def forget(self, user: str, models: Iterable[Path] = ()) -> Receipt:
        """Remove everything of a user."""
        bundles = forgetting.bundles_with_user_rows(models)
        now = self._clock.now()

        def remove(transaction: Transaction) -> tuple[dict[str, int], tuple[Copy, ...]]:
            first = forgetting.user_since(transaction, user)
            copies = forgetting.copies_since(transaction, first)
            return forgetting.remove_user(transaction, user, now, self._tombstones), copies

        removed, copies = self._writer.write(remove)
        overwritten, details = self._writer.call(lambda: self._database.erase(user))
        return Receipt(user, now, removed, overwritten, details, bundles, copies)

    def retain(self, days: float | None, events_a_user: int | None) -> Retained:
        """Remove what is too old or too much."""
        now = self._clock.now()
        return retention.retain(self._database, self._writer.write, self._tombstones, now, days, events_a_user)

    def stats(self) -> StoreStats:
        """Counts and sizes."""
        return read_stats(self._database, self._log.lost)

    def backup(self, path: Path) -> None:
        """Write a verified copy, and remember where."""
        self._database.backup(path)
        self._remember("backup", path)

    def export(self, folder: Path) -> dict[str, int]:
        """Write the store as Parquet files, and remember where."""
        from onward.serve.store.export import export  # loads polars, which nothing else of the store needs

        rows = export(self._database, folder)
        self._remember("export", folder)
        return rows

    def _remember(self, kind: str, path: Path) -> None:
        row = (str(path.absolute()), kind, self._clock.now())
        self._writer.write(lambda transaction: forgetting.remember_copy(transaction, *row))

    def close(self) -> None:
        """Write what waits and close."""
        self._writer.close()
        if self._housekeeper is not None:
            self._housekeeper.close()  # a removal under way ends at its next piece, as the writer takes none any more
        self._database.close()
