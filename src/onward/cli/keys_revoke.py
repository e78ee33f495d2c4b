"""`onward keys revoke`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class RevokedKey(Payload):
    """What `onward keys revoke --json` prints."""

    format: Literal["onward.keys.revoke/1"] = "onward.keys.revoke/1"
    """Format and version."""
    id: str
    """The key that is worthless now."""


def keys_revoke(
    key: Annotated[str, Parameter(help="Id of the key, as `onward keys list` shows it.")],
    /,
    *,
    store: Store = "onward.db",
    as_json: Json = False,
) -> None:
    """Make a key worthless, within a second also for a running server.

    Example: onward keys revoke 1f00ba42 --store shop.db
    """
    from onward.errors import ConfigError, unknown
    from onward.serve.store.protocol import open_store

    opened = open_store(store)
    try:
        if not opened.revoke_key(key):
            raise ConfigError(unknown("key", key, [record.id for record in opened.key_records()]))
    finally:
        opened.close()
    emit(RevokedKey(id=key), as_json, lambda: print(f"key {key} is revoked"))
