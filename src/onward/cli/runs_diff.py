"""`onward runs diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from onward.cli.common import Json, console, emit


def runs_diff(
    a: Annotated[Path, Parameter(help="A run folder.")],
    b: Annotated[Path, Parameter(help="Another.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Say in what two runs differ: data set, settings, git revision, environment, cost, metrics.

    Example: onward runs diff runs/gru runs/sasrec
    """
    from onward.train.contrasts import run_differences

    result = run_differences(a, b)

    def render() -> None:
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table

        out = console()
        table = Table("", "", escape(result.a), escape(result.b), box=SIMPLE_HEAD)
        kind = ""
        for one in result.differences:
            table.add_row(
                one.kind if one.kind != kind else "", f"[bold]{one.name}[/]", escape(_text(one.a)), escape(_text(one.b))
            )
            kind = one.kind
        if result.differences:
            out.print(table)
        same = [f"{number} of {kind}" for kind, number in result.same.items() if number]
        out.print(f"the same: {', '.join(same)}" if same else "nothing is the same")
        if not result.comparable:
            out.print("their metrics don't compare: the data set or its split differs")

    emit(result, as_json, render)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
