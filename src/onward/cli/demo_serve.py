"""The end of the demo: the trained model behind HTTP, a click, and the list that already knows it."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onward.errors import OnwardError

if TYPE_CHECKING:
    from onward.cli.demo_show import Show
    from onward.client import Client, RankedList

T = TypeVar("T")
K = 5
PATIENCE = 30.0
"""Seconds that the server has to stop."""


def serve_and_click(show: Show, run: Path, out: Path) -> None:
    """Start a server on a run, be a visitor who clicks once, print both lists and the milliseconds, and stop it.

    Raises OnwardError when the server can't start or doesn't stop.
    """
    from onward.client import Client

    command: list[str | Path] = ["serve", run, "--store", out / "onward.db"]
    show.command(command)
    with _server(command, out / "server.log") as url, Client(url) as client:
        show.text(f"  It answers at {url}, and shows a live page there.")
        _visit(show, client)
    show.text("  Stopped: requests under way finished, events on disk.")


def _visit(show: Show, client: Client) -> None:
    visitor = secrets.token_hex(4)
    client.recommend(session=secrets.token_hex(4), k=K)  # opens the connection, which isn't measured
    before, asked = _timed(lambda: client.recommend(session=visitor, k=K))
    chosen = before.items[0]
    _, stored = _timed(lambda: client.clicked(before.request_id, f"session:{visitor}", chosen.item))
    after, again = _timed(lambda: client.recommend(session=visitor, k=K))
    _print(show, before, after)
    show.text(f"  before   {asked:6.1f} ms   nothing is known of this visitor: what is popular")
    show.text(f"  click    {stored:6.1f} ms   {chosen.title}, on disk")
    show.text(f"  after    {again:6.1f} ms   the next list knows it; what is new in it is green")


def _timed(ask: Callable[[], T]) -> tuple[T, float]:
    """What is answered, and the milliseconds it took, HTTP included."""
    started = time.perf_counter()
    answer = ask()
    return answer, 1000 * (time.perf_counter() - started)


def _print(show: Show, before: RankedList, after: RankedList) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table("", "before the click", "after it", box=SIMPLE_HEAD)
    known = {one.item for one in before.items}
    for place, (old, new) in enumerate(zip(before.items, after.items, strict=False), 1):
        table.add_row(str(place), Text(old.title), Text(new.title, style="" if new.item in known else "bold green"))
    show.console.print(table)


@contextmanager
def _server(command: Sequence[str | Path], log: Path) -> Iterator[str]:
    """Run a command that serves; gives its URL."""
    words = [sys.executable, "-m", "onward"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*words, *map(str, command), "--json"], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    with process.stdout as printed:
        try:
            line = printed.readline()
            if not line.startswith('{"format"'):
                raise OnwardError("the server did not start", f"its messages are in {log}")
            yield str(json.loads(line)["url"])
        finally:
            process.terminate()
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    if code:
        raise OnwardError("the server did not stop well", f"its messages are in {log}")
