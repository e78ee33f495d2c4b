"""The search itself: one trial after the other until the time is up."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from onward.errors import OnwardError
from onward.search.budget import EPOCHS_LEAST, Budget
from onward.search.rounds import FIRST_ROUND, next_family
from onward.search.study import GOES_ON, Asked, Family
from onward.search.trial import Objective
from onward.search.trial_watch import OutOfTime, Pruned, TrialWatch


class Observer:
    """Sees what a search does; this one looks away."""

    def began(self, model: str, number: int, paused: bool) -> None:
        """A trial begins, or goes on from one that was paused."""

    def went_on(self, done: float) -> None:
        """So many epochs of it are done."""

    def ended(self, family: Family, number: int) -> None:
        """It came to an end, whatever that was."""


@dataclass
class Search:
    """The moving parts of one session.

    Every model has an equal share of the first part of the time, in which trainings are paused. Then the training that
    leads goes on to its end, after it the better half of the others where there is time, and last come new settings of
    the models that are ahead.

    Attributes:
        objective: trains and validates.
        budget: how much time there is.
        reserve: seconds to keep for the final test, by what is known so far.
        folder: of the trials' runs.
    """

    families: Sequence[Family]
    objective: Objective
    budget: Budget
    reserve: Callable[[], float]
    folder: Path
    observer: Observer = field(default_factory=Observer)

    @property
    def left(self) -> float:
        """Seconds for trials."""
        return self.budget.left - self.reserve()

    @property
    def share(self) -> float:
        """Seconds of each model in the first part."""
        return FIRST_ROUND * self.budget.total / len(self.families)

    def run(self) -> None:
        """Trials until the time is up or nothing is left to try. Failures are recorded; Ctrl-C goes through."""
        while (family := self._next()) is not None:
            self.trial(family)
        self.tidy(paused=False)

    def _next(self) -> Family | None:
        """Whose turn it is, among those whose trials still fit."""
        sharing = [family for family in self.families if self._shares(family) and self._fits(family)]
        if sharing:
            return min(sharing, key=lambda family: family.used)
        promising = self._promising()
        if promising is not None:
            family, trial = promising
            family.go_on(trial)
            return family
        return next_family(self.families, self.budget.used, self._fits)

    def _shares(self, family: Family) -> bool:
        """Whether it is still in the first part: a trained model's is made of its starts."""
        return family.used < self.share and (not family.candidate.trained or family.waiting > 0)

    def _fits(self, family: Family) -> bool:
        left = self.left
        if left <= 0 or family.over:
            return False
        if not family.candidate.trained:
            return max((trial.user_attrs.get("seconds", 0.0) for trial in family.trials), default=0.0) < left
        pace = family.epoch_seconds({})
        return pace is None or EPOCHS_LEAST * pace <= left

    def _promising(self) -> tuple[Family, FrozenTrial] | None:
        """The paused training that goes on next: the leader at once, others while there is time for them."""
        waiting = [
            (trial, family)
            for family in self.families
            for trial in family.paused
            if (self.folder / trial.user_attrs["folder"]).is_dir()
        ]
        gone = [trial for family in self.families for trial in family.trials if GOES_ON in trial.user_attrs]
        if not waiting or self.left <= 0:
            return None
        sign = 1 if self.families[0].lower else -1
        trial, family = min(waiting, key=lambda one: sign * float(one[0].user_attrs["paused"]))
        if not gone:
            return family, trial
        better_half = math.ceil((len(waiting) + len(gone)) / 2)
        longest = max(float(one.user_attrs["seconds"]) for one in gone)
        return (family, trial) if len(gone) < better_half and self.left >= 0.5 * longest else None

    def trial(self, family: Family) -> None:
        """Run the next trial of a model and record what came of it."""
        sharing = self._shares(family)
        allowed = max(0.0, self.share - family.used) / max(1, family.waiting)
        asked = family.ask()
        if asked is None:
            return
        folder = self.folder / f"{family.model}-{asked.trial.number:03d}"
        began, number = self.budget.clock(), asked.trial.number
        facts: dict[str, Any] = {"folder": folder.name}
        watch = self._watch(family, asked, allowed if sharing else None)
        outcome = None
        try:
            self.observer.began(family.model, number, asked.paused is not None)
            paused = None if asked.paused is None else self.folder / asked.paused
            outcome = self.objective(family.model, asked.settings, folder, watch, paused)
            facts |= {"fit_seconds": outcome.fit_seconds, "epochs": outcome.epochs}
            facts |= {"validation_seconds": watch.validation_seconds, "epoch_seconds": watch.epoch_seconds}
            end = family.pause if watch.paused or (outcome.interrupted and not watch.decays) else family.complete
            end(asked.trial, outcome.value, self.budget.clock() - began, **facts)
        except Pruned:
            facts["epoch_seconds"] = watch.epoch_seconds
            family.prune(asked.trial, self.budget.clock() - began, **facts)
        except OutOfTime as news:
            family.fail(asked.trial, self.budget.clock() - began, str(news), stopped=True, **facts)
        except KeyboardInterrupt:
            family.fail(asked.trial, self.budget.clock() - began, "stopped by Ctrl-C", stopped=True, **facts)
            raise
        except Exception as error:  # whatever a trial does, the search goes on
            said = error.message if isinstance(error, OnwardError) else f"{type(error).__name__}: {error}"
            family.fail(asked.trial, self.budget.clock() - began, said, **facts)
        finally:
            self.tidy()
        self.observer.ended(family, number)
        if outcome is not None and outcome.interrupted:
            raise KeyboardInterrupt

    def _watch(self, family: Family, asked: Asked, allowed: float | None) -> TrialWatch:
        def report(done: float, value: float) -> None:
            asked.trial.report(value, max(1, int(done)))
            if asked.paused is None and asked.trial.should_prune():
                raise Pruned

        now = self.budget.clock()
        return TrialWatch(
            self.budget.clock,
            now + self.left,
            family.lower,
            report,
            self.observer.went_on,
            None if allowed is None else now + allowed,
            family.epoch_seconds(asked.settings) if family.candidate.trained else None,
        )

    def tidy(self, paused: bool = True) -> None:
        """Remove the runs that are no model's best, nor, with `paused`, such as may go on."""
        kept = {family.best.user_attrs["folder"] for family in self.families if family.best is not None}
        if paused:
            kept |= {trial.user_attrs["folder"] for family in self.families for trial in family.paused}
        for run in self.folder.iterdir() if self.folder.is_dir() else ():
            if run.name not in kept:
                shutil.rmtree(run, ignore_errors=True)
