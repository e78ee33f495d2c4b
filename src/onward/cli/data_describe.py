"""`onward data describe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from rich.table import Table

    from onward.data.describe import Column, Description

BLOCKS = "▁▂▃▄▅▆▇█"
NAME = 26
"""Characters of a column's name that are shown."""
WIDE = 45
"""Characters beside the figures from which there is room for examples."""
UNITS = {"characters": " characters", "norm": " (norm)"}
"""What the range of a text and of a vector is of."""


def data_describe(
    dataset: Annotated[Path, Parameter(help="Dataset folder, made by `onward prepare`.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Show what is inside a dataset folder: counts, what was decided, and every column in figures.

    Of each column: kind, missing values, different values, range or commonest names, a histogram, an example, and its
    drift: how far its values in the test lie from those in the training.

    Example: onward data describe dataset/
    """
    from onward.data.dataset import open_dataset
    from onward.data.describe import describe_dataset

    found = describe_dataset(open_dataset(dataset))
    emit(found, as_json, lambda: _render(found))


def _render(found: Description) -> None:
    from rich.console import Console
    from rich.markup import escape

    from onward.data.times import describe

    manifest, lengths = found.manifest, found.history_lengths
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width
        console = Console(highlight=False, width=180)
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
    for owner in ("events", "items", "users"):
        columns = [column for column in found.columns if column.table == owner]
        console.print(_table(owner, columns, console.width))
    console.print(_legend(found), markup=False, soft_wrap=True)
    for decision in manifest.decisions:
        console.print(f"  {decision}", markup=False, soft_wrap=True)


def _table(owner: str, columns: list[Column], width: int) -> Table:
    """The columns of one owner, a line each; on a narrow terminal without their examples."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    heads = [owner, "kind", "missing", "different", "histogram", "drift", "range or commonest", "example"]
    rows = [[" ".join(cell.split()) for cell in _cells(column)] for column in columns]
    widths = [max(map(cell_len, texts)) for texts in zip(heads, *rows, strict=True)]
    widths[0] = min(widths[0], NAME)
    left = width - sum(widths[:6]) - 2 * len(heads)
    widths[7] = min(widths[7], left // 3) if left >= WIDE else 0
    widths[6] = min(widths[6], max(left - widths[7], len("range")))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title_justify="left", title=" ")
    shown = [at for at, its in enumerate(widths) if its]
    for at in shown:
        table.add_column(heads[at], width=widths[at], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))
    return table


def _cells(row: Column) -> tuple[str, ...]:
    drift = "" if row.drift is None else f"{row.drift.measure} {row.drift.value:.2f}"
    kind = row.kind + (" *" if row.known_at_request else "")
    figures = (f"{row.missing:.1%}", f"{row.different:,}", _blocks(row), drift, _range(row))
    return row.name, kind, *figures, row.example


def _range(row: Column) -> str:
    from onward.data.times import describe

    if row.low is not None and row.high is not None:
        if row.measure == "microseconds":
            return f"{describe(int(row.low))[:10]} to {describe(int(row.high))[:10]}"
        return f"{row.low:.6g} to {row.high:.6g}{UNITS.get(row.measure or '', '')}"
    short = [(bar.label if len(bar.label) <= 20 else f"{bar.label[:19]}…", bar.share) for bar in row.histogram[:3]]
    return ", ".join(f"{label} {share:.0%}" for label, share in short)


def _blocks(row: Column) -> str:
    most = max((bar.share for bar in row.histogram), default=0.0)
    return "".join(BLOCKS[round(bar.share / most * (len(BLOCKS) - 1))] for bar in row.histogram)


def _legend(found: Description) -> str:
    said = "  histogram: names from the commonest down, or steps from the 1st to the 99th percentile"
    if found.drift_protocol is None:
        said += "; drift: too few events to compare a training with a test"
    else:
        said += (
            f"; drift from training to test by protocol {found.drift_protocol}: "
            "ks (Kolmogorov-Smirnov, numbers) or psi (population stability index, names)"
        )
    return said + ("; * known at the request" if found.manifest.known_at_request else "")
