"""`onward store export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class ExportedStore(Payload):
    """What `onward store export --json` prints."""

    format: Literal["onward.store.export/1"] = "onward.store.export/1"
    """Format and version."""
    folder: str
    """Where the files are."""
    rows: dict[str, int]
    """Rows of `events`, `items` and `impressions`, each a Parquet file of that name."""
    prepare: str
    """The command that makes a dataset of them."""


def store_export(
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="New folder.")],
    store: Store = "onward.db",
    as_json: Json = False,
) -> None:
    """Write events, items and impressions as Parquet files, to train on or to look at.

    The store remembers the export, so that the receipt of a later forgetting names it.

    Example: onward store export --store shop.db -o shop
    """
    from contextlib import closing

    from onward.serve.store.protocol import open_store

    with closing(open_store(store, create=False)) as opened:
        rows = opened.export(out)
    events, items = out / "events.parquet", out / "items.parquet"
    made = ExportedStore(folder=str(out), rows=rows, prepare=f"onward prepare {events} --items {items} -o dataset")

    def render() -> None:
        from onward.evaluate.report_text import counted

        for name, count in rows.items():
            console().print(f"{out / name}.parquet: {counted(count, 'row')}")
        console().print(f"next: {made.prepare}")

    emit(made, as_json, render)
