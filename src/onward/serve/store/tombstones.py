"""What forgotten users leave: a keyed hash of the id, and when. It can't be turned back, and nobody without the
store's secret can try names against it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from onward.serve.store.database import Reader, Transaction, pack


class Tombstones:
    """Hashes of forgotten users, and of the ids of their removed events.

    Args:
        secret: the store's, hexadecimal.
    """

    def __init__(self, secret: str) -> None:
        self.secret = bytes.fromhex(secret)

    def hash(self, name: str) -> str:
        """Keyed hash of a user's or an event's id, 32 hexadecimal digits."""
        return hashlib.blake2b(name.encode(), key=self.secret, digest_size=16).hexdigest()

    def times(self, reader: Reader, users: Iterable[str], since: int = 0) -> dict[str, int]:
        """User -> when forgotten, microseconds UTC, of those that were forgotten at or after a time."""
        hashes = {self.hash(name): name for name in users}
        if not hashes:
            return {}
        found = reader.read(
            "SELECT hash, time FROM tombstones WHERE hash IN (SELECT given.value FROM {texts}) AND time >= ?",
            (pack(hashes), since),
        )
        return {hashes[digest]: time for digest, time in found}

    def any_since(self, reader: Reader, time: int) -> bool:
        """Whether anybody was forgotten at or after a time; cheap."""
        return bool(reader.read("SELECT 1 FROM tombstones WHERE time >= ? LIMIT 1", (time,)))

    def used_ids(self, reader: Reader, ids: Iterable[str]) -> dict[str, int | None]:
        """Event id -> hash of its body, of those whose events were removed; None where their user was forgotten."""
        hashes = {self.hash(name): name for name in ids}
        found = reader.read(
            "SELECT hash, body FROM used_ids WHERE hash IN (SELECT given.value FROM {texts})", (pack(hashes),)
        )
        return {hashes[digest]: body for digest, body in found}

    def keep_ids(self, transaction: Transaction, events: Iterable[tuple[str, int | None, int]]) -> None:
        """Keep (id, hash of the body, received) of events that are being removed."""
        rows = [(self.hash(name), body, received) for name, body, received in events]
        transaction.run(
            "INSERT INTO used_ids(hash, body, received) SELECT given.value ->> 0, CAST(given.value ->> 1 AS {int}), "
            "CAST(given.value ->> 2 AS {int}) FROM {rows} WHERE TRUE ON CONFLICT (hash) DO NOTHING",
            (pack(rows),),
        )

    def leave(self, transaction: Transaction, user: str, now: int) -> None:
        """Leave a tombstone for a user."""
        transaction.run(
            "INSERT INTO tombstones(hash, time) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET time = excluded.time",
            (self.hash(user), now),
        )
