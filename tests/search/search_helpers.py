"""A clock that is set by hand, and trainings that only pretend: what they give is known, what they take is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna

from onward.models.registry import model_class
from onward.search.budget import Budget
from onward.search.candidates import candidate
from onward.search.facts import Facts
from onward.search.search import Search
from onward.search.study import Family, StudyFile
from onward.search.trial import EPOCHS_MOST, Outcome
from onward.space import Value
from onward.train.watch import Watch

STEPS = 20
"""Updates of an epoch."""
LEARNS, DECAY_GIVES = 8.0, 0.2
"""Epochs in which a training comes to 1 - 1 / e of its best, and what the decay of its step size adds, as a share."""


def facts(**changed: object) -> Facts:
    """A log of 100,000 events of some 50 users' films, with what is named changed."""
    plain = {
        "users": 900,
        "items": 1700,
        "events": 80_000,
        "median_length": 60.0,
        "long_length": 300.0,
        "longest": 700,
        "span_days": 200.0,
        "tie_share": 0.1,
        "repeat_share": 0.0,
        "seen": "exclude",
        "grouped": False,
        "valid_requests": 1000,
        "test_requests": 1000,
        "features": {"events": [], "items": [], "users": []},
    }
    return Facts.model_validate({**plain, **changed})


class FakeClock:
    """Tells the time that was added to it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


Quality = Callable[[str, Mapping[str, Value]], float]


def smooth(model: str, settings: Mapping[str, Value]) -> float:
    """Up to 1, where the learning rate is 3e-3 and dropout 0.3; half of that for gru."""
    rate, dropout = settings.get("train.learning_rate", 1e-3), settings.get("model.dropout", 0.3)
    assert isinstance(rate, float)
    assert isinstance(dropout, float)
    loss = 0.3 * math.log(rate / 3e-3) ** 2 + 2 * (dropout - 0.3) ** 2
    return (0.5 if model == "gru" else 1.0) * math.exp(-loss)


class FakeObjective:
    """Trainings that take `epoch_seconds` an epoch and near their quality epoch by epoch, and in their decay further.

    Args:
        failing: raises for a trial what it returns; None lets it run.
    """

    def __init__(
        self,
        clock: FakeClock,
        epoch_seconds: float = 4.0,
        quality: Quality = smooth,
        failing: Callable[[str, Mapping[str, Value], int], BaseException | None] = lambda *_: None,
    ) -> None:
        self.clock, self.epoch_seconds, self.quality, self.failing = clock, epoch_seconds, quality, failing
        self.epochs_done = 0.0
        self.calls: list[tuple[str, dict[str, Value]]] = []
        self.states: dict[str, int] = {}  # steps of each run that was paused

    def __call__(
        self, model: str, settings: Mapping[str, Value], folder: Path, watch: Watch, paused: Path | None = None
    ) -> Outcome:
        error = self.failing(model, settings, len(self.calls))
        self.calls.append((model, dict(settings)))
        if error is not None:
            raise error
        folder.mkdir(parents=True, exist_ok=True)
        best = self.quality(model, settings)
        if not model_class(model).traits.trainable:
            self.clock.now += 1.0
            return Outcome(best, 0.8)
        first = 0 if paused is None else self.states[paused.name]
        end, decay_from, kept = EPOCHS_MOST, float(EPOCHS_MOST), 0.0
        for step in range(first + 1, STEPS * EPOCHS_MOST + 1):
            self.clock.now += self.epoch_seconds / STEPS
            self.epochs_done += 1 / STEPS
            epoch = step / STEPS
            if watch.stepped(step, STEPS):
                self.states[folder.name] = step
                break
            if decay_from == EPOCHS_MOST and (last := watch.last_epoch(step, STEPS)) is not None:
                end, decay_from = last, epoch
            if step % STEPS == 0:
                decayed = max(0.0, (epoch - decay_from) / max(1e-9, end - decay_from))
                value = best * (1 - math.exp(-epoch / LEARNS)) * (1 - DECAY_GIVES * (1 - decayed))
                kept = max(kept, value)
                watch.validated(epoch, value)
            if epoch == end:
                break
        return Outcome(kept, 0.0, epoch)


class Unkept(StudyFile):
    """Trials that no file keeps: writing them is most of what a pretended search takes."""

    def __init__(self, prune: bool, seed: int) -> None:
        self._storage = optuna.storages.InMemoryStorage()
        self._direction = optuna.study.StudyDirection.MAXIMIZE
        self._prune, self._seed = prune, seed

    def close(self) -> None:
        """Nothing is open."""


def make_search(
    folder: Path,
    objective: FakeObjective,
    seconds: float,
    models: tuple[str, ...] = ("esasrec", "gru"),
    prune: bool = True,
    seed: int = 0,
    spent: float = 0.0,
    kept: bool = False,
) -> tuple[Search, StudyFile]:
    """A search over some models with these pretended trainings; 10 s of it are kept for the test.

    Args:
        kept: whether the trials are in a file, so that another search can go on with them.
    """
    study = StudyFile(folder / "study.db", False, prune, seed) if kept else Unkept(prune, seed)
    families: list[Family] = [study.family(candidate(model, facts(), "a test")) for model in models]
    budget = Budget(seconds, spent, objective.clock)
    (folder / "trials").mkdir(exist_ok=True)
    return Search(families, objective, budget, lambda: 10.0, folder / "trials"), study
