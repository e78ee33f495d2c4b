"""`onward store stats`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from onward.cli.common import Json, console, emit
from onward.cli.keys_list import Store
from onward.payload import Payload


class StoreCounts(Payload):
    """What `onward store stats --json` prints."""

    format: Literal["onward.store.stats/1"] = "onward.store.stats/1"
    """Format and version."""
    backend: Literal["sqlite", "postgresql"]
    """What keeps the store."""
    schema_version: int
    """Version of its tables."""
    events: int
    """Events."""
    users: int
    """Users with events, anonymous sessions among them."""
    items: int
    """Items that events name or named."""
    oldest: int | None
    """Time of the first event, microseconds UTC; null without events."""
    newest: int | None
    """Time of the last event, microseconds UTC; null without events."""
    last_seq: int
    """Number of the last event stored."""
    impressions: int
    """Lists that were logged."""
    shown: int
    """Lists that clients reported as shown."""
    attributed: int
    """Clicks that count for a logged list."""
    unattributed: int
    """Clicks that count for none."""
    impressions_lost: int
    """Lists that were to be logged and found the buffer full."""
    forgotten: int
    """Users that were forgotten."""
    bytes: int
    """Size of the database."""
    log_bytes: int | None
    """Size of its write-ahead log; null where it is the whole server's."""


def store_stats(*, store: Store = "onward.db", as_json: Json = False) -> None:
    """Count what a server's store holds.

    Example: onward store stats --store shop.db
    """
    from contextlib import closing

    from onward.serve.store.protocol import open_store

    with closing(open_store(store, create=False)) as opened:
        values = asdict(opened.stats())
    counts = StoreCounts(schema_version=values.pop("schema"), **values)

    def render() -> None:
        from onward.data.times import describe
        from onward.evaluate.report_text import counted

        out = console()
        out.print(f"[bold]{counts.backend}[/bold], tables of version {counts.schema_version}, {counts.bytes:,} bytes")
        events, users = counted(counts.events, "event"), counted(counts.users, "user")
        out.print(f"{events} of {users} with {counted(counts.items, 'item')}")
        if counts.oldest is not None and counts.newest is not None:
            out.print(f"from {describe(counts.oldest)} to {describe(counts.newest)}")
        lists, clicks = counted(counts.impressions, "list"), counted(counts.attributed, "click")
        out.print(f"{lists} logged, {counts.shown:,} shown, {counts.impressions_lost:,} lost")
        out.print(f"{clicks} on them, {counted(counts.unattributed, 'click')} of no logged list")
        out.print(f"{counted(counts.forgotten, 'user')} forgotten")

    emit(counts, as_json, render)
