"""`onward keys list`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.payload import Payload

Store = Annotated[str, Parameter(help="SQLite file, or postgresql://... URL, of the server.")]


class ListedKey(Payload):
    """One key."""

    id: str
    """Names the key; not secret."""
    name: str
    """What it is for."""
    role: Literal["read", "write", "admin"]
    """What it may do."""
    created: int
    """When it was made, microseconds UTC."""
    revoked: int | None
    """When it was revoked; null while it is good."""


class KeyList(Payload):
    """What `onward keys list --json` prints."""

    format: Literal["onward.keys.list/1"] = "onward.keys.list/1"
    """Format and version."""
    keys: list[ListedKey]
    """In order of creation."""


def keys_list(*, store: Store = "onward.db", as_json: Json = False) -> None:
    """List the keys of a store; secrets can't be listed, since only their hashes are kept.

    Example: onward keys list --store shop.db
    """
    from onward.serve.store.protocol import open_store

    opened = open_store(store)
    try:
        records = opened.key_records()
    finally:
        opened.close()
    listed = [
        ListedKey(id=one.id, name=one.name, role=one.role, created=one.created, revoked=one.revoked) for one in records
    ]

    def render() -> None:
        from datetime import UTC, datetime

        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for column in ("id", "name", "role", "created", "revoked"):
            table.add_column(column)
        for key in listed:
            times = [
                "" if time is None else f"{datetime.fromtimestamp(time / 1e6, UTC):%Y-%m-%d %H:%M}"
                for time in (key.created, key.revoked)
            ]
            table.add_row(key.id, key.name, key.role, *times)
        console().print(table if listed else "no keys; make one: onward keys create NAME")

    emit(KeyList(keys=listed), as_json, render)
