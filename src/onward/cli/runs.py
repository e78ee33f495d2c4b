"""`onward runs`, and the group of `onward runs diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from onward.cli.common import Json, console, emit

if TYPE_CHECKING:
    from rich.table import Table

    from onward.train.records import RunRecord

runs = App(name="runs", help="List and filter runs; `runs diff` says in what two of them differ.")
runs.command("onward.cli.runs_diff:runs_diff", name="diff", help="Say in what two runs differ.")


@runs.default
def runs_list(
    *folders: Annotated[Path, Parameter(help="Runs, or folders to search for runs. [default: the current one]")],
    model: Annotated[str | None, Parameter(name=["--model", "-m"], help="Only runs of this model.")] = None,
    dataset: Annotated[
        str | None, Parameter(help="Only runs on this data set: the beginning of its hash, or its folder.")
    ] = None,
    where: Annotated[
        list[str] | None,
        Parameter(help="Only runs of which this holds: train.epochs=20, test.ndcg@10>=0.1...", negative=""),
    ] = None,
    sort: Annotated[
        str, Parameter(help="A setting, date, seconds, parameters, or a metric: valid.ndcg@10, test.ndcg@10...")
    ] = "date",
    reverse: Annotated[bool, Parameter(help="The other way round.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """List runs: model, data set, best validation, test where evaluated, seconds, parameters, date.

    Dates come newest first, metrics best first, everything else ascending. Several --where must all hold.

    Example: onward runs runs/ --model sasrec --where model.width=64 --sort valid.ndcg@10
    """
    from onward.train.listing import list_runs

    result = list_runs(
        folders or (Path(),), model=model, dataset=dataset, where=where or (), sort=sort, reverse=reverse
    )

    def render() -> None:
        out = console()
        if result.runs:
            out.print(_table(result.runs, wide=out.width >= 110))
        left_out = result.found - len(result.runs)
        out.print(f"runs: {len(result.runs)}" + (f"; left out by the filters: {left_out}" if left_out else ""))

    for one in result.unreadable:
        console(error=True).print(f"note: {one.path} can't be read: {one.problem}", markup=False)
    emit(result, as_json, render)


def _table(records: list[RunRecord], wide: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    monitors = {record.monitor for record in records}
    shared = f"\n{next(iter(monitors))}" if len(monitors) == 1 else ""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run\ndata split", overflow="fold")
    table.add_column("model", no_wrap=True)
    for heading in (f"valid{shared}", f"test{shared}", "seconds", *(["parameters"] if wide else []), "date"):
        table.add_column(heading, justify="right", no_wrap=True)
    for record in records:
        own = "" if shared else f"\n{record.monitor}"
        valid, test = record.validation.get(record.monitor), record.test.get(record.monitor)
        parameters = "" if record.parameters is None else f"{record.parameters:,}"
        split = f"{record.settings.get('split.protocol', '')}/{record.settings.get('split.request_time', '')}"
        table.add_row(
            f"[bold]{escape(record.path)}[/]\n[dim]{record.dataset[:8]} {split}[/]"
            + ("" if record.state == "finished" else "\n(unfinished)"),
            record.model,
            "" if valid is None else f"{valid:.4f}{own}",
            "" if test is None else f"{test.value:.4f}{own}",
            "" if record.seconds is None else f"{record.seconds:.1f}",
            *([parameters] if wide else []),
            record.date[:10] + "\n" + record.date[11:16],
        )
    return table
