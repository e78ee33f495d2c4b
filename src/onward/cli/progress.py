"""A progress bar on standard error for work that goes request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onward.cli.common import console


@contextmanager
def ranking_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show the requests ranked; gives the function to call with (done, in all). Gone when finished."""
    with steps_progress(f"ranking {what}") as report:
        yield report


@contextmanager
def steps_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of something is done; gives the function to call with (done, in all). Gone when finished."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(error=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def named_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is done now; gives the function to call with (what, done, in all). Gone when finished."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out = console(error=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
