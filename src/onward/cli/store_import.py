"""`onward store import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class ImportedEvents(Payload):
    """What `onward store import --json` prints."""

    format: Literal["onward.store.import/1"] = "onward.store.import/1"
    """Format and version."""
    store: str
    """Where the events are now."""
    stored: int
    """Events that are in the store now and weren't before."""
    known: int
    """Events that an earlier import had stored."""
    refused: dict[str, int]
    """Reason -> events that were not taken."""


def store_import(
    dataset: Annotated[Path, Parameter(help="A prepared dataset.")],
    /,
    *,
    store: Store = "onward.db",
    as_json: Json = False,
) -> None:
    """Put a dataset's events into an event store, so that a server knows what its users did before.

    Again, or after an interruption, it stores what is missing.

    Example: onward store import dataset --store shop.db
    """
    from onward.cli.progress import steps_progress
    from onward.data.dataset import open_dataset
    from onward.evaluate.report_text import counted
    from onward.serve.store.importing import import_events
    from onward.serve.store.protocol import open_store

    data = open_dataset(dataset)
    opened = open_store(store)
    try:
        with steps_progress("events") as progress:
            done = import_events(opened, data, progress)
    finally:
        opened.close()
    payload = ImportedEvents(store=store, stored=done.stored, known=done.known, refused=done.refused)

    def render() -> None:
        known = f"; {done.known:,} {'was' if done.known == 1 else 'were'} there already" if done.known else ""
        stored, users = counted(done.stored, "event"), counted(len(data.users), "user")
        console().print(f"{stored} of {users} stored in {store}{known}")
        for reason, number in done.refused.items():
            console(error=True).print(f"[yellow]note:[/] {counted(number, 'event')} refused: {reason}")

    emit(payload, as_json, render)
