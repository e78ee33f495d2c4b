"""The end of a search: the best bundle, the test part looked at once, the table, the command to train it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import TrialState

from onward.bundle import export
from onward.evaluate.compare import Comparison, OnModel, compare
from onward.files import atomic_file
from onward.search.results import FailedTrial, FamilyResult, SearchResult, TableRow
from onward.search.rounds import in_order
from onward.search.study import Family, model_value
from onward.space import Value

RESULT = "result.json"
SCORING = 2.0
"""What scoring costs in an evaluation, in validations of as many requests: targets are ranked, then lists made."""
MARGIN = 1.15
"""What is kept for the test, in what it is thought to take."""
START_SECONDS = 1.0
"""Of the end, whatever is tested."""


def seconds_of_test(families: Sequence[Family], overhead: float, ratio: float) -> float:
    """Seconds that the test of the best trial of every model takes, about.

    Args:
        overhead: seconds of an evaluation on the validation part beside the scoring.
        ratio: requests of the test part, in those of the validation part.
    """
    scoring = 0.0
    tested = [family.best for family in families if family.best is not None]
    for trial in tested:
        facts = trial.user_attrs
        validated = facts.get("validation_seconds") or max(0.0, facts["seconds"] - facts["fit_seconds"])
        scoring += SCORING * validated
    return START_SECONDS + MARGIN * ratio * (len(tested) * overhead + scoring)


def export_best(families: Sequence[Family], trials: Path, folder: Path) -> str:
    """Write the bundle of the best trial of all to `best/`, replacing an earlier one; gives its model."""
    best = in_order(families)[0]
    assert best.best is not None, "a search begins with a baseline that is fitted"
    export(trials / best.best.user_attrs["folder"], folder / "best", overwrite=True)
    return best.model


def run_test(families: Sequence[Family], trials: Path, dataset: Path, on_model: OnModel) -> Comparison:
    """Evaluate the best trial of every model on the test part, tested against the one that validates best."""
    ranked = [family.best for family in in_order(families)]
    runs = [trials / trial.user_attrs["folder"] for trial in ranked if trial is not None]
    return compare(runs, "test", str(runs[0]), dataset=dataset, on_model=on_model)


def tested(trials: Path) -> int:
    """Runs whose test was looked at already."""
    return len(list(trials.glob("*/evaluation/test/metrics.json")))


def table_rows(compared: Comparison, families: Sequence[Family]) -> list[TableRow]:
    """The table, in the order of the validation."""
    rows = {row.evaluation.model: row for row in compared.rows}
    found = []
    for family in in_order(families):
        if family.best is None:
            continue
        row = rows[family.model]
        test = compared.test(row.label, compared.metric)
        found.append(
            TableRow(
                model=family.model,
                metrics=row.evaluation.metrics,
                difference=None if test is None else test.difference,
                p_holm=None if test is None else test.p_holm,
            )
        )
    return found


def family_results(families: Sequence[Family], trials: Path) -> list[FamilyResult]:
    """One a model, best on validation first."""
    found = []
    for family in in_order(families):
        best = family.best
        found.append(
            FamilyResult(
                model=family.model,
                reason=family.candidate.reason,
                trials=len(family.trials),
                complete=family.count(TrialState.COMPLETE),
                pruned=family.count(TrialState.PRUNED),
                failed=family.count(TrialState.FAIL) - family.stopped,
                stopped=family.stopped,
                seconds=round(family.used, 3),
                validation=None if best is None else model_value(best),
                settings=_settings(family),
                importance=family.importance(),
                run=None if best is None else str(trials / best.user_attrs["folder"]),
            )
        )
    return found


def _settings(family: Family) -> dict[str, Value]:
    """Those of the best trial."""
    if family.best is None:
        return {}
    epochs = family.best.user_attrs["epochs"]
    planned = {"train.epochs": epochs} if epochs else {}
    return {**family.candidate.fixed, **family.best.params, **planned}


def failures(families: Sequence[Family]) -> list[FailedTrial]:
    """Every trial that failed, in the order of the models."""
    return [
        FailedTrial(model=family.model, number=trial.number, error=str(trial.user_attrs.get("error", "unknown")))
        for family in families
        for trial in family.trials
        if trial.state == TrialState.FAIL and not trial.user_attrs.get("stopped")
    ]


def train_command(dataset: Path, folder: Path) -> str:
    """What trains the best model again."""
    config = folder / "best" / "config.toml"
    return f"onward train {shlex.quote(str(dataset))} --config {shlex.quote(str(config))} -o again"


def write_result(folder: Path, result: SearchResult) -> None:
    """Keep what was found beside the study."""
    with atomic_file(folder / RESULT, overwrite=True) as new:
        new.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
