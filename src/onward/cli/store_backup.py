"""`onward store backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class Backup(Payload):
    """What `onward store backup --json` prints."""

    format: Literal["onward.store.backup/1"] = "onward.store.backup/1"
    """Format and version."""
    path: str
    """The copy: a store of its own, or an archive for pg_restore where the store is in PostgreSQL."""
    bytes: int
    """Its size."""


def store_backup(
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="New file.")],
    store: Store = "onward.db",
    as_json: Json = False,
) -> None:
    """Copy a store to a new file while servers use it, and check the copy.

    A store in PostgreSQL is copied by pg_dump, which must be installed. The store remembers the copy, so that the
    receipt of a later forgetting names it.

    Example: onward store backup --store shop.db -o shop-2026-11-24.db
    """
    from contextlib import closing

    from onward.serve.store.protocol import open_store

    with closing(open_store(store, create=False)) as opened:
        opened.backup(out)
    made = Backup(path=str(out), bytes=out.stat().st_size)
    emit(made, as_json, lambda: print(f"{made.path}: {made.bytes:,} bytes, checked"))
