"""`onward data describe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.data.describe import Description


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
    from onward.data.describe import describe_dataset

    found = describe_dataset(open_dataset(dataset))
    emit(found, as_json, lambda: _render(found))


def _render(found: Description) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from onward.data.times import describe

    manifest, lengths, console = found.manifest, found.history_lengths, Console(highlight=False)
    console.print(f"[bold]{escape(found.path)}[/]  content {manifest.hash[:12]}", soft_wrap=True)
    console.print(
        f"{manifest.events:,} events of {manifest.users:,} users on {manifest.items:,} items; "
        f"events a user: {lengths.min:,} to {lengths.max:,}, median {lengths.median:,}"
    )
    if manifest.time_min is not None and manifest.time_max is not None:
        console.print(f"{describe(manifest.time_min)} to {describe(manifest.time_max)} UTC")
    if manifest.actions:
        console.print(f"actions: {', '.join(manifest.actions)}", markup=False)
    if manifest.rejected:
        console.print(f"{manifest.rejected:,} rows could not be used; see rejected.parquet")
    table = Table("table", "column", "kind", "missing", "different", "example")
    for row in found.columns:
        cells = (row.table, row.name, row.kind, f"{row.missing:.1%}", f"{row.different:,}", row.example)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    for decision in manifest.decisions:
        console.print(f"  {decision}", markup=False, soft_wrap=True)
