"""The trials: of every model a study of Optuna's, in memory, and each finished trial in one SQLite file.

A model has a study of its own, so that its sampler and its pruner see its own trials only. What is in the file was
committed when a trial ended: after kill -9 the trial that was running is missing, and nothing else. The sampler depends
on the trials and the seed alone, so that a search that goes on draws what it would have drawn. (Optuna's SQLite storage
also takes every validation, at half a second of processor time a trial: the models in memory are why it isn't used.)
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from onward.search.candidates import Candidate
from onward.space import Choice, Range, Space, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)

FIRST_RUNG, REDUCTION = 2, 4
"""Successive halving (Li et al., MLSys 2020, arXiv:1810.05934): the first rung, in epochs; of a rung's trials one in
this many goes on to the next, which is that many times as far."""
RANDOM_TRIALS = 4
"""Trials drawn evenly before the sampler learns from what they gave."""
FITTED_TRIALS = 8
"""Trials of a model that is fitted in one call, for each setting that is searched, at most."""
REPEATS = 10
"""Draws of settings that were tried already, in a row, after which a space counts as exhausted."""
GIVE_UP = 3
"""Failures of a model that has given nothing yet, after which it is left alone."""
SIZE = ("model.width", "model.blocks", "model.layers", "model.feed_forward", "model.max_length", "model.features")
"""Settings that decide how long an epoch takes."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


GOES_ON = "goes_on"
"""Attribute of a trial: number of the paused one whose training it takes up."""


@dataclass(frozen=True)
class Asked:
    """A trial that is to be run.

    Attributes:
        paused: run folder that its training goes on from; None for one that begins.
    """

    trial: Trial
    settings: dict[str, Value]
    paused: str | None = None


class Family:
    """The trials of one model.

    Args:
        file: the study of that model in the file.
        prune: whether trials may end before their last epoch.
        seed: of the sampler, with the model's name and the trial's number.
    """

    def __init__(self, candidate: Candidate, file: optuna.Study, prune: bool, seed: int) -> None:
        self.candidate, self.file, self.seed = candidate, file, seed
        pruner: BasePruner = SuccessiveHalvingPruner(FIRST_RUNG, REDUCTION) if prune else NopPruner()
        self.study = optuna.create_study(direction=file.direction, pruner=pruner)
        self.study.add_trials(file.get_trials())
        done = [trial.params for trial in self.trials if not trial.user_attrs.get("stopped")]
        stopped = [trial.params for trial in self.trials if trial.user_attrs.get("stopped")]
        for values in [*candidate.starts, *stopped]:
            if values and values not in done:
                self.study.enqueue_trial(dict(values))
                done.append(dict(values))
        self._suggested = [values for values in candidate.suggested if values not in done]
        self._repeats = 0

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.candidate.model

    @property
    def trials(self) -> list[FrozenTrial]:
        """All that were begun, in their order; without draws of settings that had been tried."""
        every = self.study.get_trials(deepcopy=False)
        return [one for one in every if one.state != TrialState.WAITING and "same_as" not in one.user_attrs]

    def count(self, *states: TrialState) -> int:
        """Trials in these states."""
        return sum(trial.state in states for trial in self.trials)

    @property
    def used(self) -> float:
        """Seconds that its trials took."""
        return sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in self.trials)

    @property
    def best(self) -> FrozenTrial | None:
        """The trial that has a model with the best value, the first of equals; None where there is none."""
        return next(iter(self.ranked(self.trials)), None)

    @property
    def waiting(self) -> int:
        """Trials whose settings are known already: starts, and what was stopped."""
        return sum(trial.state == TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))

    @property
    def paused(self) -> list[FrozenTrial]:
        """Trials that were paused and have not gone on, the best first."""
        gone = {one.user_attrs.get(GOES_ON) for one in self.trials if not one.user_attrs.get("stopped")}
        return self.ranked([one for one in self.trials if "paused" in one.user_attrs and one.number not in gone])

    def ranked(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those that have a model, best first."""
        sign = 1 if self.lower else -1
        valued = [(sign * value, trial) for trial in trials if (value := model_value(trial)) is not None]
        return [trial for _, trial in sorted(valued, key=lambda one: (one[0], one[1].number))]

    @property
    def lower(self) -> bool:
        """Whether lower values are better."""
        return self.study.direction == StudyDirection.MINIMIZE

    @property
    def over(self) -> bool:
        """Whether nothing is left to try: its space is exhausted, or it only fails."""
        done, failed = self.count(*DONE), self.count(TrialState.FAIL)
        if not done and failed - self.stopped >= GIVE_UP:
            return True
        if not self.candidate.space:
            return done > 0
        most = FITTED_TRIALS * len(self.candidate.space)
        return self._repeats >= REPEATS or (not self.candidate.trained and done >= most)

    @property
    def stopped(self) -> int:
        """Trials that count as failed for no fault of their own: Ctrl-C, the end of the budget."""
        return sum(bool(trial.user_attrs.get("stopped")) for trial in self.trials)

    def ask(self) -> Asked | None:
        """The next trial; None where its space turns out to be exhausted."""
        while not self.over:
            if self._suggested and not self.waiting:
                self.study.enqueue_trial(dict(self._suggested.pop(0)))
            self.study.sampler = self._sampler(len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask()
            values = {key: _suggest(trial, key, space) for key, space in self.candidate.space.items()}
            asked = Asked(trial, {**self.candidate.fixed, **values}, self._paused_run(trial))
            if asked.paused is not None:
                return asked
            same = next((one for one in self.trials if one.params == trial.params and _has_an_end(one)), None)
            if same is None:
                self._repeats = 0
                return asked
            self._repeats += 1
            self._repeat(trial, same)
        return None

    def go_on(self, paused: FrozenTrial) -> None:
        """Let a trial that was paused go on, as a trial of its own, when those that wait already are done."""
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if all(one.user_attrs.get(GOES_ON) != paused.number for one in waiting):
            self.study.enqueue_trial(dict(paused.params), user_attrs={GOES_ON: paused.number})

    def _paused_run(self, trial: Trial) -> str | None:
        """Name of the run that a trial goes on from."""
        number = trial.user_attrs.get(GOES_ON)
        return None if number is None else str(self.study.get_trials(deepcopy=False)[number].user_attrs["folder"])

    def _repeat(self, trial: Trial, same: FrozenTrial) -> None:
        """Give a trial the outcome that its settings had before."""
        trial.set_user_attr("same_as", same.number)
        for step, value in same.intermediate_values.items():
            trial.report(value, step)
        self._tell(trial, same.value if same.state == TrialState.COMPLETE else None, same.state)

    def complete(self, trial: Trial, value: float, seconds: float, **facts: Any) -> None:
        """A trial went to its end."""
        self._end(trial, TrialState.COMPLETE, seconds, facts, value)

    def pause(self, trial: Trial, value: float, seconds: float, **facts: Any) -> None:
        """A trial has a model of that value, and may go on."""
        self._end(trial, TrialState.PRUNED, seconds, {**facts, "paused": value})

    def prune(self, trial: Trial, seconds: float, **facts: Any) -> None:
        """A trial was ended early, as others do better."""
        self._end(trial, TrialState.PRUNED, seconds, facts)

    def fail(self, trial: Trial, seconds: float, error: str, stopped: bool = False, **facts: Any) -> None:
        """A trial failed; one that was `stopped` is no fault of its settings, and they are tried again."""
        self._end(trial, TrialState.FAIL, seconds, {**facts, "error": error, "stopped": stopped})
        if stopped and GOES_ON not in trial.user_attrs:
            self.study.enqueue_trial(dict(trial.params))

    def _end(
        self, trial: Trial, state: TrialState, seconds: float, facts: Mapping[str, Any], value: float | None = None
    ) -> None:
        for name, fact in {**facts, "seconds": seconds}.items():
            trial.set_user_attr(name, fact)
        self._tell(trial, value, state)

    def _tell(self, trial: Trial, value: float | None, state: TrialState) -> None:
        """End a trial, in the file too."""
        self.study.tell(trial, value, state)
        self.file.add_trial(self.study.get_trials(deepcopy=False)[trial.number])

    def epoch_seconds(self, settings: Mapping[str, Value]) -> float | None:
        """What an epoch takes: as in the latest trial of that size, else the most in any trial; None where unknown."""
        known = [(trial.params, trial.user_attrs.get("epoch_seconds")) for trial in self.trials]
        paces = [(params, pace) for params, pace in known if pace is not None]
        alike = [pace for params, pace in paces if all(params.get(key) == settings.get(key) for key in SIZE)]
        probed = self.file.user_attrs.get("epoch_seconds")
        return alike[-1] if alike else max((pace for _, pace in paces), default=probed)

    def importance(self) -> dict[str, float]:
        """How much of what makes a trial good each setting decides, 1 together; empty where too few trials say.

        PED-ANOVA (Watanabe et al., IJCAI 2023, https://doi.org/10.24963/ijcai.2023/488), over the trials that were
        ended early too, with the last value that they had: that others did better is what is known of them.
        """
        tried = [(trial, _last_value(trial)) for trial in self.trials if trial.state in DONE]
        valued = [(trial, value) for trial, value in tried if value is not None]
        if len(valued) < 2 * RANDOM_TRIALS:
            return {}
        together = optuna.create_study(direction=self.study.direction)
        for trial, value in valued:
            together.add_trial(optuna.create_trial(params=trial.params, distributions=trial.distributions, value=value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental; settings that never changed
            try:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                found = optuna.importance.get_param_importances(together, evaluator=evaluator)
            except (RuntimeError, ValueError):
                return {}  # all values the same
        return {key: round(float(share), 4) for key, share in found.items()}

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler that knows nothing but the trials and its seed, so that a search that goes on draws as it would."""
        seed = zlib.crc32(f"{self.seed}/{self.model}/{number}".encode())
        return TPESampler(n_startup_trials=RANDOM_TRIALS, multivariate=True, seed=seed)


def model_value(trial: FrozenTrial) -> float | None:
    """What the model is worth that it left; None where it left none."""
    paused: float | None = trial.user_attrs.get("paused")
    return trial.value if trial.state == TrialState.COMPLETE else paused


def _has_an_end(trial: FrozenTrial) -> bool:
    """Whether trying the same settings again would tell nothing: it failed by its own fault, or has an outcome."""
    return trial.state in DONE or (trial.state == TrialState.FAIL and not trial.user_attrs.get("stopped"))


def _last_value(trial: FrozenTrial) -> float | None:
    """Its value, or that of its last validation where it was ended early."""
    return trial.value if trial.state == TrialState.COMPLETE else trial.intermediate_values.get(trial.last_step or 0)


def _suggest(trial: Trial, key: str, space: Space) -> Value:
    if isinstance(space, Choice):
        return trial.suggest_categorical(key, list(space.values))
    assert isinstance(space, Range)
    if space.whole:
        return trial.suggest_int(key, int(space.low), int(space.high), log=space.log)
    return trial.suggest_float(key, space.low, space.high, log=space.log)


class StudyFile:
    """The SQLite file, and the families in it.

    Args:
        lower: whether lower values of the metric are better.
    """

    def __init__(self, path: Path, lower: bool, prune: bool, seed: int) -> None:
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        self._direction = StudyDirection.MINIMIZE if lower else StudyDirection.MAXIMIZE
        self._prune, self._seed = prune, seed

    def family(self, candidate: Candidate) -> Family:
        """The trials of a candidate, those of earlier sessions among them; a new one's first trials are its starts."""
        study = optuna.create_study(
            storage=self._storage, study_name=candidate.model, direction=self._direction, load_if_exists=True
        )
        return Family(candidate, study, self._prune, self._seed)

    @property
    def spent(self) -> float:
        """Seconds that all trials took together, those of earlier sessions."""
        names = optuna.get_all_study_names(self._storage)
        studies = [optuna.load_study(storage=self._storage, study_name=name) for name in names]
        trials = [trial for study in studies for trial in study.get_trials(deepcopy=False)]
        return sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in trials)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()


def settings_text(settings: Mapping[str, Value]) -> str:
    """Settings in one line, for people."""
    return " ".join(f"{key.partition('.')[2]}={_short(value)}" for key, value in settings.items())


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value).strip('"')
