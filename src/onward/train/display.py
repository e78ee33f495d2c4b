"""What a person sees while a model trains: a progress bar on standard error."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Display:
    """Progress of one training: steps, loss, events a second, time left, the best validation so far.

    Args:
        title: what stands before the bar.
        shown: False for silence.
    """

    def __init__(self, title: str, shown: bool = True) -> None:
        self._task: TaskID | None = None
        self._title = title
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=8),  # all of it fits into 80 columns
            TaskProgressColumn(),
            TextColumn("{task.fields[loss]}{task.fields[speed]}{task.fields[best]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            disable=not shown or not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, total: int, done: int) -> None:
        """A training of `total` steps begins, of which `done` are done."""
        self._task = self._progress.add_task(self._title, total=total, completed=done, loss="", speed="", best="")

    def step(self, step: int, loss: float, events_per_second: float) -> None:
        """Show where it stands."""
        if self._task is not None:
            speed = f"{events_per_second:,.0f} events/s "
            self._progress.update(self._task, completed=step, loss=f"loss {loss:.4f} ", speed=speed)

    def validated(self, value: float, best: bool) -> None:
        """Show a validation of the monitored metric; the best so far stays on the bar."""
        if self._task is not None and best:
            self._progress.update(self._task, best=f"best {value:.4f}")
