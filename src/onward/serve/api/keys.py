"""API keys: made once, kept hashed, compared in constant time.

A key reads `onward_ID_SECRET`. The store keeps the id and the SHA-256 of the secret, which has 256 random bits, so
that a slow hash would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass

from onward.errors import ConfigError
from onward.serve.store.protocol import EventStore, KeyRecord, Role

RANK: dict[Role, int] = {"read": 0, "write": 1, "admin": 2}
"""A role may do what the ones below it may."""
_FORM = re.compile(r"onward_([0-9a-f]{8})_([\w-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was presented and is good."""

    id: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether it may do what a role may."""
        return RANK[self.role] >= RANK[role]


def create_key(store: EventStore, name: str, role: Role) -> tuple[KeyRecord, str]:
    """Make a key and keep it hashed; returns the record and the key itself, which can't be had again."""
    if not name.strip() or not name.isprintable():
        raise ConfigError(f"a key's name is printable text, not {name!r}")
    secret = secrets.token_urlsafe(32)
    record = KeyRecord(secrets.token_hex(4), name, role, _hash(secret), time.time_ns() // 1000)
    store.add_key(record)
    return record, f"onward_{record.id}_{secret}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


class Keys:
    """The keys of a store as they were at the last `refresh`.

    Args:
        store: holds them.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._version = -1
        self._records: dict[str, KeyRecord] = {}
        self.refresh()

    @property
    def needed(self) -> bool:
        """Whether requests need a key: from the first key on, even when all are revoked."""
        return bool(self._records)

    def check(self, presented: str) -> Key | None:
        """The key, when it is one of the store's and wasn't revoked."""
        form = _FORM.fullmatch(presented)
        record = self._records.get(form[1]) if form else None
        kept = record.hash if record else bytes(32)
        same = hmac.compare_digest(_hash(form[2] if form else ""), kept)
        return Key(record.id, record.role) if record and same and record.revoked is None else None

    def refresh(self) -> None:
        """Read them again if they changed; to be called about twice a second, from one thread. Raises StoreError."""
        version = self._store.keys_version()
        if version != self._version:
            self._records = {record.id: record for record in self._store.key_records()}
            self._version = version
