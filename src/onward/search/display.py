"""What a person sees of a search: what the data is like, what is tried and why, and a bar with the time left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

from optuna.trial import TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from onward.evaluate.ranking import Progress as OnRequests
from onward.search.budget import Budget, say_duration
from onward.search.candidates import RATE, Candidate
from onward.search.facts import Facts
from onward.search.search import Observer
from onward.search.study import Family, model_value, settings_text


class _Left(ProgressColumn):
    """Time left, as of now."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    def render(self, task: Task) -> Text:
        """Seconds or minutes until the budget is used."""
        return Text(f"{say_duration(self._budget.left)} left", style="progress.remaining")


class SearchDisplay(Observer):
    """Progress of a search, on standard error; a bar on a terminal, lines for what is better than all before anywhere.

    Args:
        shown: False for silence.
    """

    def __init__(self, shown: bool = True) -> None:
        terminal = sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False, quiet=not shown, soft_wrap=not terminal)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._trials = 0
        self._best: tuple[float, str] | None = None
        self._now = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def facts(self, facts: Facts) -> None:
        """Say what the data is like."""
        self._console.print("[bold]The data[/]")
        for sentence in facts.sentences:
            self._console.print(f"  {sentence}", markup=False)

    def candidates(self, candidates: Sequence[Candidate]) -> None:
        """Say what is tried and why."""
        self._console.print("[bold]What is tried[/]")
        for one in candidates:
            self._console.print(f"  [bold]{one.model}[/]: {one.reason}")
            start = settings_text({**one.fixed, **one.starts[0]})
            if start:
                self._console.print(f"    begins with {start}", style="dim", markup=False)
            for settings in one.suggested:
                said = settings_text({RATE: settings[RATE]})
                self._console.print(f"    a range test suggests {said}", style="dim", markup=False)

    def start(self, budget: Budget) -> None:
        """The time begins to run."""
        self._budget = budget
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[best]}"),
            _Left(budget),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("searching", total=budget.total, best="")
        self._progress.start()

    def began(self, model: str, number: int, paused: bool) -> None:
        """As `Observer.began`."""
        self._now = f"trial {self._trials + 1}: {model}"
        self._show(self._now)
        if paused:
            at = say_duration(self._budget.elapsed)
            self._console.print(f"{at:>4}  trial {self._trials + 1}: {model} goes on", markup=False)

    def went_on(self, done: float) -> None:
        """As `Observer.went_on`."""
        self._show(f"{self._now}, epoch {int(done) + 1}")

    def ended(self, family: Family, number: int) -> None:
        """As `Observer.ended`."""
        self._trials += 1
        trial = next(one for one in family.trials if one.number == number)
        if trial.state == TrialState.FAIL and not trial.user_attrs.get("stopped"):
            self._console.print(
                f"trial {self._trials}: {family.model} failed: {trial.user_attrs['error']}", markup=False
            )
        value = model_value(trial)
        if value is None:
            return
        sign = -1 if family.lower else 1
        if self._best is None or sign * value > sign * self._best[0]:
            self._best = (value, family.model)
            at = say_duration(self._budget.elapsed)
            said = f"{at:>4}  trial {self._trials}: best so far {value:.4f}, {family.model} "
            self._console.print((said + settings_text(trial.params)).rstrip(), markup=False)
        self._show(self._now)

    def testing(self, path: str) -> OnRequests | None:
        """A model is evaluated on the test part."""
        self._show("the test part, once")
        return None

    def _show(self, what: str) -> None:
        if self._progress is not None and self._task is not None:
            best = "" if self._best is None else f"best {self._best[0]:.4f} ({self._best[1]})"
            self._progress.update(self._task, description=what, completed=self._budget.elapsed, best=best)
