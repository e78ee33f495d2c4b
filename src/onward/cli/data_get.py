"""`onward data get`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.payload import Payload


class Fetched(Payload):
    """What `onward data get --json` prints."""

    format: Literal["onward.data.get/1"] = "onward.data.get/1"
    """Format and version."""
    name: str
    """Name of the data set."""
    path: str
    """Folder of its files."""
    files: list[str]
    """Their names."""
    terms: str
    """What its publisher allows."""
    source: str
    """Who publishes it."""
    prepare: str
    """The command that prepares it."""


def data_get(
    name: Annotated[str, Parameter(help="A name from `onward data list`.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="Copy it to this new folder; the cache's folder otherwise.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a public data set, verify every file's hash and print its terms.

    Example: onward data get ml-100k
    """
    from onward.data.datasets import find_dataset, get_dataset

    folder = get_dataset(name, out)
    entry = find_dataset(name)
    prepare = entry.prepare.replace("FOLDER", str(folder))

    def render() -> None:
        out = console()
        out.print(f"[bold]{entry.title}[/bold]")
        out.print(f"terms: {entry.terms}")
        out.print(f"source: {entry.source}")
        out.print(f"verified, in: {folder}")
        out.print(f"next: {prepare}")

    payload = Fetched(
        name=name,
        path=str(folder),
        files=sorted(entry.files),
        terms=entry.terms,
        source=entry.source,
        prepare=prepare,
    )
    emit(payload, as_json, render)
