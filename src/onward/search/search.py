"""The search itself: one trial after the other until the time is up."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from onward.errors import OnwardError
from onward.search.budget import EPOCHS_LEAST, EPOCHS_MOST, Budget, Clock, fitting_epochs
from onward.search.rounds import next_family, round_at, round_share, takes_part
from onward.search.study import Asked, Family
from onward.search.trial import Objective, OutOfTime, Pruned, Repace, TrialWatch
from onward.space import Value

TRAINING_SHARE = 0.6
"""What one training may take, of the time that its model has in a round: room for others that are ended early."""
REPLANS = 2
"""Times that a trial is begun again at another number of epochs."""


class Observer:
    """Sees what a search does; this one looks away."""

    def began(self, model: str, number: int, epochs: int | None) -> None:
        """A trial begins, of so many epochs where it is trained."""

    def went_on(self, done: float) -> None:
        """So many epochs of it are done."""

    def ended(self, family: Family, number: int) -> None:
        """It came to an end, whatever that was."""


@dataclass
class Search:
    """The moving parts of one session.

    Attributes:
        objective: trains and validates.
        budget: how much time there is.
        reserve: seconds to keep for the final test, by what is known so far.
        folder: of the trials' runs.
        epochs: epochs of every trial, where they were asked for; None: as many as fit.
    """

    families: Sequence[Family]
    objective: Objective
    budget: Budget
    reserve: Callable[[], float]
    folder: Path
    epochs: int | None = None
    observer: Observer = field(default_factory=Observer)

    @property
    def left(self) -> float:
        """Seconds for trials."""
        return self.budget.left - self.reserve()

    def run(self) -> None:
        """Trials until the time is up or nothing is left to try. Failures are recorded; Ctrl-C goes through."""
        while (family := self._next()) is not None:
            self.trial(family)

    def _next(self) -> Family | None:
        """Whose turn it is, among those whose trials still fit."""
        return next_family(self.families, self.budget.used, self._fits)

    def _fits(self, family: Family) -> bool:
        left = self.left
        if left <= 0 or family.over:
            return False
        if not family.candidate.trained:
            return max((trial.user_attrs.get("seconds", 0.0) for trial in family.trials), default=0.0) < left
        pace = family.epoch_seconds({})
        return pace is None or self._plan(family, pace) > 0

    def _plan(self, family: Family, pace: float) -> int:
        """Epochs to plan for at that many seconds an epoch; 0 where what is left is not worth a beginning."""
        within = fitting_epochs(self.left, pace)
        if self.epochs is not None:
            return self.epochs if within else 0
        wanted = fitting_epochs(self._allowed(family), pace) or EPOCHS_LEAST
        return min(wanted, within) if 2 * within >= wanted else 0

    def _allowed(self, family: Family) -> float:
        """Seconds that one training of it may plan for."""
        number, count = round_at(self.budget.used, len(self.families)), len(self.families)
        beside = sum(one.candidate.trained and not one.over for one in takes_part(self.families, self.budget.used))
        share = self.budget.total * round_share(number, count) / max(1, beside)
        return min(TRAINING_SHARE * share, self.left)

    def trial(self, family: Family) -> None:
        """Run the next trial of a model and record what came of it."""
        asked = family.ask()
        if asked is None:
            return
        folder = self.folder / f"{family.model}-{asked.trial.number:03d}"
        began, number = self.budget.clock(), asked.trial.number
        facts: dict[str, Any] = {"folder": folder.name}
        try:
            self._attempt(family, asked, folder, facts)
            value = facts.pop("value")
            assert isinstance(value, float)
            family.complete(asked.trial, value, self.budget.clock() - began, **facts)
        except Pruned:
            family.prune(asked.trial, self.budget.clock() - began, **facts)
        except OutOfTime as end:
            family.fail(asked.trial, self.budget.clock() - began, str(end), stopped=True, **facts)
        except KeyboardInterrupt:
            family.fail(asked.trial, self.budget.clock() - began, "stopped by Ctrl-C", stopped=True, **facts)
            raise
        except Exception as error:  # whatever a trial does, the search goes on
            said = error.message if isinstance(error, OnwardError) else f"{type(error).__name__}: {error}"
            family.fail(asked.trial, self.budget.clock() - began, said, **facts)
        finally:
            self.tidy()
        self.observer.ended(family, number)

    def _attempt(self, family: Family, asked: Asked, folder: Path, facts: dict[str, Any]) -> None:
        """Train; at another number of epochs again where the pace turns out to be another than thought."""
        settings, trained = dict(asked.settings), family.candidate.trained
        pace = family.epoch_seconds(settings) if trained else None
        for attempt in range(REPLANS + 1):
            epochs = 0 if pace is None else self._plan(family, pace)
            facts["epoch_seconds"] = pace
            if pace is not None and not epochs:
                raise OutOfTime(f"an epoch takes {pace:.1f} s, and {max(0.0, self.left):.0f} s are left")
            watch = self._watch(family, asked.trial, epochs, attempt < REPLANS)
            planned = {"train.epochs": epochs or EPOCHS_MOST} if trained else {}
            self.observer.began(family.model, asked.trial.number, epochs if trained else None)
            try:
                outcome = self.objective(family.model, {**settings, **planned}, folder, watch)
            except Repace as news:
                pace = news.epoch_seconds
                continue
            finally:
                facts["epoch_seconds"] = watch.epoch_seconds or pace
            facts |= {"value": outcome.value, "fit_seconds": outcome.fit_seconds, "epochs": epochs}
            facts |= {"validation_seconds": watch.validation_seconds, "ended": watch.ended}
            return
        raise OutOfTime("its pace changes more than can be planned for")

    def _watch(self, family: Family, trial: Trial, epochs: int, repace: bool) -> TrialWatch:
        def report(done: float, value: float) -> None:
            if epochs:
                trial.report(value, max(1, int(100 * done / epochs)))
                if trial.should_prune():
                    raise Pruned

        now = self.budget.clock()
        allowed, replans = self._allowed(family), repace and (self.epochs is None or not epochs)
        return TrialWatch(self.budget.clock, now + self.left, allowed, epochs, report, self.observer.went_on, replans)

    def tidy(self) -> None:
        """Remove the runs that are no model's best."""
        kept = {family.best.user_attrs["folder"] for family in self.families if family.best is not None}
        for run in self.folder.iterdir() if self.folder.is_dir() else ():
            if run.name not in kept:
                shutil.rmtree(run, ignore_errors=True)


def probe(objective: Objective, model: str, settings: Mapping[str, Value], folder: Path, clock: Clock) -> float:
    """Seconds that an epoch takes, by the first steps of a training that is not gone on with.

    Raises what a training raises.
    """
    watch = TrialWatch(clock, math.inf, 0.0, 0, lambda done, value: None)
    try:
        objective(model, {**settings, "train.epochs": EPOCHS_MOST}, folder, watch)
    except Repace as news:
        return news.epoch_seconds
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    raise AssertionError("a watch without a plan always asks for one")
