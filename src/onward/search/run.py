"""One session of a search, from the dataset's facts to the tested table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from onward.config import SplitConfig, apply_settings
from onward.data.dataset import Dataset, open_dataset
from onward.data.split import split
from onward.errors import ConfigError, TrainingError
from onward.evaluate.protocol import evaluate
from onward.machine import memory_total
from onward.models.registry import MODELS
from onward.search.budget import EPOCHS_LEAST, EPOCHS_WHOLE, Budget, Clock, say_duration
from onward.search.candidates import Candidate, choose, static_candidates, trained_candidates
from onward.search.display import SearchDisplay
from onward.search.facts import Facts, find_facts
from onward.search.finish import (
    export_best,
    failures,
    family_results,
    run_test,
    seconds_of_test,
    table_rows,
    tested,
    train_command,
    write_result,
)
from onward.search.results import SearchResult
from onward.search.search import Search
from onward.search.settings import SearchConfig, check_unchanged, read_settings, write_settings
from onward.search.study import Family, StudyFile
from onward.search.trial import Objective, TrainObjective, settings_of
from onward.tracking.names import check_trackers
from onward.train.range_test import RangeTest

BASELINE = "popularity"
RANGE_TEST_SHARE = 0.02
"""Of the time, for the learning rate range test of a model, at most."""


def auto(
    dataset: Dataset | str | Path,
    out: str | Path = "search",
    *,
    budget: float | None = None,
    models: Sequence[str] = (),
    protocol: str | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    prune: bool = True,
    progress: bool = True,
    since: float | None = None,
) -> SearchResult:
    """Find the best model and settings for a dataset within a budget of wall-clock time.

    Everything is chosen on the validation part; the test part is looked at once, at the end, for the best trial of
    each model. `out` gets `best/`, a bundle, `result.json` and the study file.

    Args:
        dataset: a prepared dataset or its folder.
        budget: seconds that this session takes, the test included; half an hour where absent, and with `resume` what
            is left of the first session's.
        models: names to choose from; by default what the data suggests and the budget allows.
        protocol: as in `SplitConfig`.
        settings: `key=value` settings of every trial, which are then not searched.
        resume: go on with the search in `out`; at most the trial that was running when it was killed is lost.
        overwrite: replace a search that is there.
        prune: end trials early where others do better (successive halving).
        since: when the budget began to run, by `time.monotonic()`; now where absent.

    Raises:
        ConfigError, FormatError, OutputError: what was given can't be used; a budget that is too small says the least.
        TrainingError: every trial failed.
        KeyboardInterrupt: Ctrl-C; the best so far is in `out`.
    """
    since = time.monotonic() if since is None else since
    data = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    folder = Path(out)
    if resume:
        config = read_settings(folder, data.manifest.hash)
        check_unchanged(config, models, protocol, seed, settings)
    else:
        config = _resolve(data, tuple(models), protocol, seed or 0, tuple(settings), budget or 1800.0, prune)
        write_settings(folder, config, overwrite)
    with SearchDisplay(progress) as display:
        return Session(data, folder, config, display).run(budget, since)


def tune(dataset: Dataset | str | Path, model: str, out: str | Path = "search", **options: Any) -> SearchResult:
    """Find the best settings of one model; `options` are those of `auto`. Popularity stands beside it in the table."""
    return auto(dataset, out, models=[model], **options)


def _resolve(
    data: Dataset,
    models: tuple[str, ...],
    protocol: str | None,
    seed: int,
    settings: tuple[str, ...],
    budget: float,
    prune: bool,
) -> SearchConfig:
    given = apply_settings({}, settings).get("split", {})
    if protocol is not None:
        given = {**given, "protocol": protocol}
    asked = SplitConfig.parse(given, "split")
    if asked.protocol == "all" or asked.refit:
        raise ConfigError("a search needs a validation part, and none is left", "leave --protocol all and refit out")
    divided = split(data.histories, asked, data.manifest.actions)
    for part, requests in (("validation", divided.valid), ("test", divided.test)):
        if not len(requests):
            raise ConfigError(f"the {part} part is empty under protocol '{asked.protocol}'", "choose another protocol")
    kept = tuple(one for one in settings if not one.strip().startswith("split."))
    config = SearchConfig(
        dataset=data.manifest.hash,
        models=models,
        split=divided.config,
        seed=seed,
        settings=kept,
        budget=budget,
        prune=prune,
    )
    _ = config.train  # raises for settings of the loop that are unknown
    check_trackers(config.given.get("track", ()))
    for text in kept:
        if text.strip().startswith("model.") and not any(settings_of(name, [text]) for name in models or MODELS):
            of = ", ".join(models) or "any model"
            raise ConfigError(f"--set {text!r} is no setting of {of}", "onward models NAME lists a model's settings")
    return config


class Session:
    """One session of a search.

    Args:
        objective: what trains; trainings on the dataset where absent.
    """

    def __init__(
        self,
        data: Dataset,
        folder: Path,
        config: SearchConfig,
        display: SearchDisplay,
        objective: Objective | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.data, self.folder, self.config, self.display, self.clock = data, folder, config, display, clock
        self.trials = folder / "trials"
        monitor = config.train.monitor
        own = TrainObjective(data, config.split, config.seed, config.settings, monitor)
        self.objective: Objective = objective or own
        self.facts: Facts = find_facts(data, split(data.histories, config.split, data.manifest.actions))

    def run(self, seconds: float | None, since: float) -> SearchResult:
        """Search, then test.

        Args:
            seconds: of this session; None for what is left of the first session's.
            since: when they began, by the clock.
        """
        self.display.facts(self.facts)
        study = StudyFile(self.folder / "study.db", self.config.lower, self.config.prune, self.config.seed)
        with closing(study):
            baseline = study.family(self._candidates([BASELINE])[0])
            spent = study.spent
            given = max(0.0, self.config.budget - spent) if seconds is None else seconds
            budget = Budget(given, spent, self.clock, since)
            self.display.start(budget)
            search = Search([baseline], self.objective, budget, lambda: 0.0, self.trials, self.display)
            try:
                self._calibrate(search, baseline)
                search.families = self._families(study, search, baseline)
                self.display.candidates([family.candidate for family in search.families])
                search.run()
                return self._finish(search)
            except KeyboardInterrupt:
                if baseline.best is not None:
                    export_best(search.families, self.trials, self.folder)
                raise

    def _calibrate(self, search: Search, baseline: Family) -> None:
        """Fit the baseline, and measure what an evaluation takes; then it is known what the test will take."""
        if baseline.best is None:
            search.trial(baseline)
        best = baseline.best
        if best is None:
            (error, *_) = [*failures([baseline]), None]
            raise TrainingError(f"{BASELINE} can't be fitted: {error.error if error else 'it was stopped'}")
        attrs = baseline.file.user_attrs
        if "evaluation_seconds" not in attrs:
            began = self.clock()
            evaluate(self.trials / best.user_attrs["folder"], self.data.path, "valid")
            whole = self.clock() - began
            scoring = 2 * max(0.0, best.user_attrs["seconds"] - best.user_attrs["fit_seconds"])
            baseline.file.set_user_attr("evaluation_seconds", max(0.2 * whole, whole - scoring))
        overhead = float(baseline.file.user_attrs["evaluation_seconds"])
        ratio = self.facts.test_requests / self.facts.valid_requests
        search.reserve = lambda: seconds_of_test(search.families, overhead, ratio)

    def _families(self, study: StudyFile, search: Search, baseline: Family) -> list[Family]:
        """The models that take part, decided once: as many as could all be trained to their ends."""
        attrs = baseline.file.user_attrs
        if "models" in attrs:
            found = self._candidates([name for name in attrs["models"] if name != BASELINE])
            return [baseline, *(study.family(one.trying(attrs["rates"].get(one.model))) for one in found)]
        memory = memory_total()
        if self.config.models:
            chosen = self._candidates([name for name in self.config.models if name != BASELINE])
        else:
            static = static_candidates(self.facts, search.budget.total)
            chosen = [one.without(self.config.kept) for one in [*static, *trained_candidates(self.facts, memory)]]
            chosen = [one for one in chosen if one.model != BASELINE]
        trained = [one for one in chosen if one.trained]
        tests = dict[str, RangeTest]()
        if trained:
            tests[trained[0].model] = self._range_test(trained[0], search)
            most = self._affordable(search, tests[trained[0].model].epoch_seconds)
            trained = trained if self.config.models else trained[:most]
            tests |= {one.model: self._range_test(one, search) for one in trained[1:]}
        chosen = [one for one in chosen if not one.trained or one in trained]
        rates = {model: test.suggestion for model, test in tests.items()}
        families = [baseline, *(study.family(one.trying(rates.get(one.model))) for one in chosen)]
        for family in families:
            if family.model in tests:
                family.file.set_user_attr("epoch_seconds", tests[family.model].epoch_seconds)
        baseline.file.set_user_attr("rates", rates)
        baseline.file.set_user_attr("models", [family.model for family in families])
        return families

    def _range_test(self, one: Candidate, search: Search) -> RangeTest:
        """A learning rate for a model, and what an epoch of it takes."""
        settings = {**one.fixed, **one.starts[0]}
        return self.objective.range_test(one.model, settings, RANGE_TEST_SHARE * search.budget.total)

    def _affordable(self, search: Search, pace: float) -> int:
        """How many models can be trained. Raises ConfigError where not even one can, naming the least budget."""
        if search.left < EPOCHS_LEAST * pace:
            least = search.budget.elapsed + 1.5 * (EPOCHS_LEAST * pace + 2 * search.reserve())
            raise ConfigError(
                f"a budget of {say_duration(search.budget.total)} is too small for this dataset: an epoch takes "
                f"{pace:.1f} s, and the test some {search.reserve():.0f} s",
                f"go on with --resume --budget {say_duration(least + 30)}, the least, or more; or search among models "
                "that are fitted in one call: --models item-knn,markov",
            )
        return max(1, int(search.left / (EPOCHS_WHOLE * pace)))

    def _candidates(self, names: Sequence[str]) -> list[Candidate]:
        found = choose(names, self.facts, self.config.budget, memory_total())
        return [one.without(self.config.kept) for one in found]

    def _finish(self, search: Search) -> SearchResult:
        before = tested(self.trials)
        compared = run_test(search.families, self.trials, self.data.path, self.display.testing)
        best = export_best(search.families, self.trials, self.folder)
        result = SearchResult(
            folder=str(self.folder),
            dataset=str(self.data.path),
            protocol=self.config.split,
            seed=self.config.seed,
            metric=self.config.train.monitor,
            budget_seconds=search.budget.seconds,
            seconds=round(search.budget.elapsed, 3),
            facts=self.facts,
            families=family_results(search.families, self.trials),
            best=best,
            bundle=str(self.folder / "best"),
            command=train_command(self.data.path, self.folder),
            test=table_rows(compared, search.families),
            tested_before=before,
            failures=failures(search.families),
        )
        write_result(self.folder, result)
        return result
