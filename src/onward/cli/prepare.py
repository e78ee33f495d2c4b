"""`onward prepare`."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit

if TYPE_CHECKING:
    from rich.progress import Progress

    from onward.data.dataset import Dataset

SHOW_AFTER = 2.0
"""Seconds of work before a progress bar appears."""


def prepare(
    inputs: Annotated[
        list[str],
        Parameter(
            help="Event tables: CSV, TSV, JSON lines (or .gz), Parquet, Arrow, RecBole and MovieLens files, lines "
            "of `user item item ...`; a folder or .zip in its publisher's layout; sqlite:///file.db?query=SELECT..."
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Dataset folder to write.")],
    user: Annotated[str | None, Parameter(help="Column of the user. [default: found by its name]")] = None,
    item: Annotated[str | None, Parameter(help="Column of the item. [default: found by its name]")] = None,
    time: Annotated[str | None, Parameter(help="Column of the time; 'none' for no times.")] = None,
    action: Annotated[str | None, Parameter(help="Column of the action (view, cart, buy...); or 'none'.")] = None,
    value: Annotated[str | None, Parameter(help="Column of a number (rating, quantity...); or 'none'.")] = None,
    group: Annotated[
        str | None, Parameter(help="Column of the basket: its events are never input for each other; or 'none'.")
    ] = None,
    group_ties: Annotated[bool, Parameter(help="Events of one user at one time form a group.", negative="")] = False,
    items: Annotated[list[Path] | None, Parameter(help="Table of item features.", negative="")] = None,
    users: Annotated[list[Path] | None, Parameter(help="Table of user features.", negative="")] = None,
    features: Annotated[
        str | None,
        Parameter(
            help="features.toml: kinds of columns, what is known when a recommendation is asked for, what to leave "
            "out; 'none' keeps no further column of the log. [default: kinds are inferred]"
        ),
    ] = None,
    item_vectors: Annotated[
        list[str] | None,
        Parameter(
            help="NAME=FILE.npy or NAME=FILE.npy:IDS: vectors of items, rows as in the item table or as in IDS, a "
            "text file of item ids.",
            negative="",
        ),
    ] = None,
    links: Annotated[
        list[Path] | None, Parameter(help="Table of links: user, friend and, where there is one, weight.", negative="")
    ] = None,
    query: Annotated[str | None, Parameter(help="SQL, where the input is a SQLite file.")] = None,
    time_unit: Annotated[
        Literal["s", "ms", "us", "ns", "min", "h", "d"] | None,
        Parameter(help="Unit of epoch numbers. [default: found by their size]"),
    ] = None,
    duplicates: Annotated[
        Literal["keep", "first", "last", "error"],
        Parameter(help="Rows with the same user, item and time (and action, basket)."),
    ] = "keep",
    min_user_events: Annotated[int, Parameter(help="k-core: users with fewer go, again and again.")] = 1,
    min_item_events: Annotated[int, Parameter(help="k-core: items with fewer go, again and again.")] = 1,
    min_length: Annotated[int, Parameter(help="Users with fewer events go, once, after the k-core.")] = 1,
    allow_rejected: Annotated[
        bool, Parameter(help="Go on when more than 1% of the rows can't be used.", negative="")
    ] = False,
    overwrite: Annotated[bool, Parameter(help="Replace a dataset that is there.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Turn an event table into a dataset folder that everything else reads.

    Columns are found by their usual names (user_id, item_id, timestamp, rating...) or named; what was decided is
    printed. Further columns of the log become features of its events. Rows that can't be used are written to
    rejected.parquet with the reason; nothing is dropped in silence.

    Example: onward prepare events.csv -o dataset --user customer --item sku --time ts --items products.csv
    """
    from onward.data.prepare import Prepared
    from onward.data.prepare import prepare as run

    started = clock.monotonic()
    with progress_after(SHOW_AFTER) as report:
        dataset = run(
            inputs,
            out,
            user=user,
            item=item,
            time=time,
            action=action,
            value=value,
            group=group,
            group_ties=group_ties,
            items=items,
            users=users,
            features=features,
            item_vectors=item_vectors or (),
            links=links,
            query=query,
            time_unit=time_unit,
            duplicates=duplicates,
            min_user_events=min_user_events,
            min_item_events=min_item_events,
            min_length=min_length,
            allow_rejected=allow_rejected,
            overwrite=overwrite,
            progress=report,
        )
    seconds = clock.monotonic() - started
    payload = Prepared(path=str(out), seconds=round(seconds, 3), manifest=dataset.manifest)
    emit(payload, as_json, lambda: _render(dataset, seconds))


def _render(dataset: Dataset, seconds: float) -> None:
    manifest = dataset.manifest
    out = console()
    out.print(
        f"[bold]{manifest.events:,}[/] events of [bold]{manifest.users:,}[/] users on "
        f"[bold]{manifest.items:,}[/] items, prepared in {seconds:.1f} s"
    )
    for decision in manifest.decisions:
        out.print(f"  {decision}", markup=False)
    out.print(f"dataset: {dataset.path}    next: onward data audit {dataset.path}", markup=False)


@contextmanager
def progress_after(seconds: float) -> Iterator[Callable[[str, int, int | None], None]]:
    """Gives the function to call with (what, done, in all); a bar on standard error appears once it takes this long."""
    started = clock.monotonic()
    bar = _bar()
    shown = ""

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal shown
        if clock.monotonic() - started < seconds:
            return
        bar.start()
        if what != shown:  # one line at a time: the step that is going on
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(what, total=total)
            shown = what
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()


def _bar() -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    out = console(error=True)
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
