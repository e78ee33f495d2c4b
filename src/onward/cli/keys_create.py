"""`onward keys create`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class CreatedKey(Payload):
    """What `onward keys create --json` prints."""

    format: Literal["onward.keys.create/1"] = "onward.keys.create/1"
    """Format and version."""
    id: str
    """Names the key, to revoke it; not secret."""
    name: str
    """What it is for."""
    role: Literal["read", "write", "admin"]
    """What it may do."""
    key: str
    """The key itself, which nobody can read again."""


def keys_create(
    name: Annotated[str, Parameter(help="What the key is for.")],
    /,
    *,
    role: Annotated[
        Literal["read", "write", "admin"],
        Parameter(help="read: lists and histories. write: events and items too. admin: everything."),
    ] = "read",
    store: Store = "onward.db",
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is kept hashed, so this is the only time that it can be read.

    A running server takes it within a second; from the first key on, requests need one.

    Example: onward keys create shop --role write --store shop.db
    """
    from onward.serve.api.keys import create_key
    from onward.serve.store.protocol import open_store

    opened = open_store(store)
    try:
        record, key = create_key(opened, name, role)
    finally:
        opened.close()
    payload = CreatedKey(id=record.id, name=record.name, role=record.role, key=key)

    def render() -> None:
        print(key)
        out = console(error=True)
        out.print(f"This is key {record.id}, '{record.name}', with the role {record.role}. It can't be shown again.")
        out.print("Send it as: Authorization: Bearer KEY")

    emit(payload, as_json, render)
