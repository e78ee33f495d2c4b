"""What forgotten users leave: a keyed hash of the id, and when. It can't be turned back, and nobody without the
store's secret can try names against it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from onward.serve.database import Reader, Transaction, pack


class Tombstones:
    """Hashes of forgotten users, and of the ids of their removed events.

    Args:
        secret: the store's, hexadecimal.
    """

    def __init__(self, secret: str) -> None:
        self._secret = bytes.fromhex(secret)

    def hash(self, name: str) -> str:
        """Keyed hash of a user's or an event's id; starts with `#`."""
        return "#" + hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

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

    def used_ids(self, reader: Reader, ids: Iterable[str]) -> set[str]:
        """Those of some event ids that belonged to events removed when their user was forgotten."""
        hashes = {self.hash(name): name for name in ids}
        found = reader.read("SELECT id FROM used_ids WHERE id IN (SELECT given.value FROM {texts})", (pack(hashes),))
        return {hashes[digest] for (digest,) in found}

    def leave(self, transaction: Transaction, user: str, now: int) -> None:
        """Leave a tombstone for a user."""
        transaction.run(
            "INSERT INTO tombstones(hash, time) VALUES (?, ?) ON CONFLICT (hash) DO UPDATE SET time = excluded.time",
            (self.hash(user), now),
        )
