"""`onward replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, console, emit

if TYPE_CHECKING:
    from onward.serve.replay.run import Replayed


def replay(
    model: Annotated[Path, Parameter(help="The bundle or run folder that the server serves.")],
    dataset: Annotated[Path, Parameter(help="The data set that it was trained on. Checked by its hash.")],
    /,
    *,
    url: Annotated[str, Parameter(help="Of a server whose store has none of these events.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, Parameter(help="API key, role write; not needed by a server without keys.")] = None,
    limit: Annotated[int | None, Parameter(help="Stop after so many requests. [default: all of them]")] = None,
    as_json: Json = False,
) -> None:
    """Send a log through a running server, and check that it answers as offline evaluation does.

    The events go in in the order of time. Just before each one that the split's test part predicts, the user's history
    is read back and a list is asked for. Histories must be the same to the bit, and lists the same but for the last
    digits of scores. The exit code is 1 when something differs.

    Example: onward replay runs/sasrec dataset --url http://127.0.0.1:8000
    """
    from onward.cli.progress import steps_progress
    from onward.client import Client
    from onward.errors import ConfigError
    from onward.serve.replay import run as library

    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit}: at least one request is asked")
    with Client(url, key, timeout=60) as client, steps_progress("events") as progress:
        result = library.replay(model, dataset, client, limit, progress)
    emit(result, as_json, lambda: _print(result))
    if not result.agrees:
        raise SystemExit(1)


def _print(result: Replayed) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from onward.evaluate.report_text import counted

    out = console()
    served, requests = ", ".join(result.served) or "nothing", counted(result.requests, "request")
    out.print(
        f"[bold]{result.model}[/] offline, {served} on the server: {counted(result.events, 'event')} in "
        f"{result.seconds:,.0f} s, {requests} of protocol '{result.protocol['split']}'"
    )
    out.print(f"histories  {result.histories_same:,} of {result.requests:,} the same to the bit")
    out.print(
        f"lists      {result.same:,} of {result.requests:,} the same, {result.reordered:,} of them with a near-tie in "
        f"another order; scores differ by {result.distance:.1e} at most"
    )
    table = Table("metric", "evaluate", "lists offline", "lists of the server", box=SIMPLE_HEAD)
    for name, values in result.metrics.items():
        table.add_row(name, f"{values.evaluated:.5f}", f"{values.offline:.5f}", f"{values.online:.5f}")
    out.print(table)
    if result.fallback:
        out.print(f"popularity made or filled {counted(result.fallback, 'list')}")
    if result.left_out:
        out.print(
            f"{counted(result.left_out, 'request')} left out, with events of the target's own time in the history: a "
            "server that is told the time leaves these out"
        )
    for reason, number in result.refused.items():
        out.print(f"[yellow]refused[/]    {counted(number, 'event')}: {reason}")
    for one in result.differences:
        out.print(f"[red]differs[/]    user {one.user}, {counted(one.events, 'event')}")
        out.print(f"           offline {' '.join(one.offline)}\n           server  {' '.join(one.online)}")
    out.print("[green]the server answers as offline evaluation does[/]" if result.agrees else "[red]they differ[/]")
