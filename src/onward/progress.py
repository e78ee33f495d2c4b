"""A bar for work that turns out to take more than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 2.0
"""Seconds without a bar."""
OnStep = Callable[[int, int], None]
"""Called with (done, in all)."""


def silent(done: int, of: int) -> None:
    """Progress that nobody looks at."""


@contextmanager
def shown_progress(what: str, given: OnStep | None) -> Iterator[OnStep]:
    """The function to call with (done, in all): the given one, or one that draws a bar on standard error."""
    if given is not None:
        yield given
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task, started = bar.add_task(what, total=None), time.monotonic()

    def report(done: int, total: int) -> None:
        if done < total and time.monotonic() - started > PATIENCE:
            bar.start()  # again does nothing
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()
