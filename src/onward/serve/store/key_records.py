"""Records of API keys. Hashes only: the secret itself never comes here."""

from __future__ import annotations

from onward.errors import ConflictError
from onward.serve.store.database import Reader, Transaction, advance
from onward.serve.store.values import KeyRecord


def add_key(transaction: Transaction, record: KeyRecord) -> None:
    """Keep a key. Raises ConflictError when its id is taken."""
    added = transaction.run(
        "INSERT INTO api_keys(id, name, role, hash, created, revoked) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        (record.id, record.name, record.role, record.hash, record.created, record.revoked),
    )
    if not added:
        raise ConflictError(f"there is a key '{record.id}' already", "create another")
    advance(transaction, "keys")


def read_keys(reader: Reader) -> list[KeyRecord]:
    """All keys, in order of creation."""
    found = reader.read("SELECT id, name, role, hash, created, revoked FROM api_keys ORDER BY created, id")
    return [KeyRecord(*row) for row in found]


def revoke_key(transaction: Transaction, key: str, now: int) -> bool:
    """Revoke a key; False when there is none of that id. One revoked before stays as it is."""
    transaction.run("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, key))
    advance(transaction, "keys")
    return bool(transaction.read("SELECT 1 FROM api_keys WHERE id = ?", (key,)))
