"""`onward compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit

if TYPE_CHECKING:
    from rich.table import Table

    from onward.evaluate.compare import Comparison
    from onward.evaluate.results import Estimate


SHOWN = ("value_rmse", "value_mae", "mse", "auc", "log_loss", "accuracy", "precision", "recall", "f1", "ece")
"""Metrics of interest that are printed; beside the first, the test of the difference from the baseline."""


def compare(
    *runs: Annotated[
        Path,
        Parameter(
            help="Run folders or bundles trained on the same data and split, or folders of runs of several seeds."
        ),
    ],
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="HTML report to write: one file, with plots.")
    ] = None,
    examples: Annotated[
        int, Parameter(help="Single users' requests in the report, for each pair and side; 0 leaves them out.")
    ] = 3,
    part: Annotated[Literal["valid", "test"], Parameter(help="Which part to predict.")] = "test",
    baseline: Annotated[
        str | None, Parameter(help="Run to test the others against. [default: the best by the metric]")
    ] = None,
    metric: Annotated[
        str | None, Parameter(help="What orders the runs, such as value_rmse or auc. [default: ndcg@10]")
    ] = None,
    dataset: Annotated[
        Path | None, Parameter(help="The data set of the training; by default where it was then. Checked by its hash.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare models: metrics with 95% intervals, paired tests on the same users, training time and size.

    Runs already evaluated are not evaluated again. Models measured under different protocols are refused.

    Example: onward compare runs/popularity runs/gru runs/sasrec -o report.html
    """
    from onward.cli.progress import ranking_progress, steps_progress
    from onward.evaluate.compare import compare as run_comparison

    with ranking_progress("models") as progress:
        result = run_comparison(
            runs, part, baseline, dataset=dataset, audit=out is not None, on_model=lambda path: progress, metric=metric
        )
    report = None
    if out is not None:
        from onward.evaluate.report import write_report
        from onward.evaluate.tracked import track_report

        with steps_progress("timing lists") as step:
            report = write_report(result, out, dataset=dataset, examples=examples, on_step=step)
        track_report(runs, report)
    payload = result.model_copy(update={"report": None if report is None else str(report)})
    emit(payload, as_json, lambda: print_comparison(result, report))


def print_comparison(result: Comparison, report: Path | None) -> None:
    """The comparison for people, on standard output."""
    out = console()
    first = result.rows[0].evaluation
    out.print(
        f"{result.part} part, protocol '{result.protocol['split']}', request time "
        f"'{result.protocol['request_time']}', seen items {result.protocol['seen']}d: "
        f"{first.requests:,} requests of {first.users:,} users"
    )
    out.print(_table(result, wide=out.width >= 110))
    for made, labels in result.by_training_rows.items():
        out.print(f"training rows: {made} ({', '.join(labels)})")
    for line in _notes(result):
        out.print(line)
    if any("mse" in row.evaluation.metrics for row in result.rows):
        out.print(_interest_table(result))
    if "target_action" in first.slices:
        out.print(_actions_table(result))
    if report is not None:
        out.print(f"report: {report}")


def _notes(result: Comparison) -> list[str]:
    """What the tests are, what they could have found, and what no interval says."""
    others = len(result.rows) - 1
    several = [row for row in result.rows if row.seeds]
    notes = []
    if others:
        adjusted = f", adjusted for {others} tests (Holm)" if others > 1 else ""
        of = f"of {result.metric} against '{result.baseline}'{adjusted}"
        notes.append(f"p: {result.method}, {of}; second lines: 95% intervals")
        notes += _detectable(result)
    for row in several:
        values = [one.metrics[result.metric] for one in row.seeds]
        notes.append(
            f"'{row.label}' is the mean of {len(values)} seeds: {result.metric} {min(values):.4f} to {max(values):.4f}"
        )
    if others and result.one_seed:
        notes.append(
            f"one seed alone: {', '.join(result.one_seed)}; intervals and p say nothing of other seeds "
            "(onward train --seeds 5)"
        )
    return notes


def _detectable(result: Comparison) -> list[str]:
    base = next(row for row in result.rows if row.label == result.baseline).evaluation.metrics[result.metric].value
    tests = [test for test in result.tests if test.metric == result.metric and test.detectable is not None]
    if not tests or base == 0:
        return []
    found = ", ".join(f"{test.detectable / base:.1%} ({test.label})" for test in tests if test.detectable is not None)
    return [f"smallest change from '{result.baseline}' that is found with 80% power: {found}"]


def _cutoff(result: Comparison) -> str:
    """The k that is shown."""
    return result.metric.partition("@")[2] or ("10" if 10 in result.protocol["ks"] else str(result.protocol["ks"][0]))


def _table(result: Comparison, wide: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    k = _cutoff(result)
    shown = [f"ndcg@{k}", f"hr@{k}", *([f"mrr@{k}"] if wide else [])]
    table = Table("model", *shown, box=SIMPLE_HEAD)
    more = [f"coverage@{k}", "events/s"] if wide else []
    for heading in [*more, "train s", "parameters", "p"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        test = result.test(row.label, result.metric)
        seconds, parameters = row.training.get("seconds"), row.training.get("parameters")
        speed = "" if row.events_per_second is None else f"{row.events_per_second:,.0f}"
        table.add_row(
            f"[bold]{row.label}[/]" + (f"\n[dim]{len(row.seeds)} seeds[/]" if row.seeds else ""),
            *(_estimate(row.evaluation.metrics[name]) for name in shown),
            *([f"{row.evaluation.lists[f'coverage@{k}']:.3f}", speed] if wide else []),
            "" if seconds is None else f"{seconds:.1f}",
            "" if parameters is None else f"{parameters:,}",
            "" if test is None else f"{test.p_holm:.3f}",
        )
    return table


def _interest_table(result: Comparison) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    every = [row.evaluation.metrics for row in result.rows if "mse" in row.evaluation.metrics]
    names = [name for name in SHOWN if all(name in metrics for metrics in every)]
    table = Table("interest", *names, box=SIMPLE_HEAD)
    for row in result.rows:
        if "mse" in row.evaluation.metrics:
            values = [_estimate(row.evaluation.metrics[name]) for name in names]
            for column, name in enumerate(names[:1]):
                test = result.test(row.label, name)
                values[column] += "" if test is None else f"\n[dim]{test.difference.value:+.4f}, p {test.p_holm:.3f}[/]"
            table.add_row(f"[bold]{row.label}[/]", *values)
    return table


def _actions_table(result: Comparison) -> Table:
    """NDCG by action of the target; the requests are the same for all models."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    metric = f"ndcg@{_cutoff(result)}"
    actions = result.rows[0].evaluation.slices["target_action"]
    heads = [f"{row.label}\n[dim]{row.requests:,} requests[/]" for row in actions]
    table = Table(f"{metric} by action", *heads, box=SIMPLE_HEAD)
    for row in result.rows:
        slices = row.evaluation.slices["target_action"]
        table.add_row(f"[bold]{row.label}[/]", *(_estimate(one.metrics[metric]) for one in slices))
    return table


def _estimate(value: Estimate) -> str:
    return f"{value.value:.4f}\n[dim]{value.low:.4f}-{value.high:.4f}[/]"
