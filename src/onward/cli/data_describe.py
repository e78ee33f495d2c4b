"""`onward data describe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.data.dataset import Dataset


def data_describe(
    dataset: Annotated[Path, Parameter(help="Dataset folder, made by `onward prepare`.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Show what is inside a dataset folder: counts, range of times, columns, actions, and what was decided.

    Example: onward data describe dataset/
    """
    from onward.data.dataset import open_dataset
    from onward.data.describe import describe_columns, history_lengths

    opened = open_dataset(dataset)
    payload: dict[str, Any] = {
        "format": "onward.data.describe/1",
        "path": str(dataset),
        "manifest": opened.manifest.model_dump(mode="json"),
        "columns": describe_columns(opened),
        "history_lengths": history_lengths(opened),
    }
    emit(payload, as_json, lambda: _render(opened, payload))


def _render(dataset: Dataset, payload: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from onward.data.times import describe

    manifest, console = dataset.manifest, Console(highlight=False)
    lengths = payload["history_lengths"]
    console.print(f"[bold]{escape(str(dataset.path))}[/]  content {manifest.hash[:12]}", soft_wrap=True)
    console.print(
        f"{manifest.events:,} events of {manifest.users:,} users on {manifest.items:,} items; "
        f"events a user: {lengths['min']:,} to {lengths['max']:,}, median {lengths['median']:,}"
    )
    if manifest.time_min is not None and manifest.time_max is not None:
        console.print(f"{describe(manifest.time_min)} to {describe(manifest.time_max)} UTC")
    if manifest.actions:
        console.print(f"actions: {', '.join(manifest.actions)}", markup=False)
    if manifest.rejected:
        console.print(f"{manifest.rejected:,} rows could not be used; see rejected.parquet")
    table = Table("table", "column", "kind", "missing", "different", "example")
    for row in payload["columns"]:
        cells = [row["table"], row["name"], row["kind"], f"{row['missing']:.1%}", f"{row['different']:,}"]
        table.add_row(*(escape(cell) for cell in (*cells, row["example"])))
    console.print(table)
    for decision in manifest.decisions:
        console.print(f"  {decision}", markup=False, soft_wrap=True)
