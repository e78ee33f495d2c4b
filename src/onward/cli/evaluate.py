"""`onward evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.config import Protocol

if TYPE_CHECKING:
    from rich.table import Table

    from onward.evaluate.results import Estimate, Evaluation


def evaluate(
    run: Annotated[Path, Parameter(help="A run folder, or a bundle.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="HTML report to write: one file, with plots.")
    ] = None,
    examples: Annotated[
        int, Parameter(help="Single users' requests in the report, for each heading; 0 leaves them out.")
    ] = 3,
    dataset: Annotated[
        Path | None, Parameter(help="The data set of the training; by default where it was then. Checked by its hash.")
    ] = None,
    part: Annotated[Literal["valid", "test"], Parameter(help="Which part to predict.")] = "test",
    external: Annotated[
        bool, Parameter(help="State that --dataset was never trained on; it may then be any.", negative="")
    ] = False,
    protocol: Annotated[
        Protocol | None, Parameter(help="How external data is divided; else the training's split is used.")
    ] = None,
    seen: Annotated[
        Literal["exclude", "include"] | None,
        Parameter(help="Whether items of the history may be recommended. [default: as the data set decided]"),
    ] = None,
    cold: Annotated[
        Literal["miss", "drop", "items", "users"],
        Parameter(
            help="Targets that training never saw: a miss, or left out. Or measure these items, or users, alone."
        ),
    ] = "miss",
    k: Annotated[
        list[int] | None,
        Parameter(
            name=["--k", "-k"], help="Cut-offs of the metrics. [default: 5 10 20]", consume_multiple=True, negative=""
        ),
    ] = None,
    threshold: Annotated[
        float | None, Parameter(help="Interest from which on an item counts as liked. [default: 0.75, 4 of 5 stars]")
    ] = None,
    decision: Annotated[
        float | None,
        Parameter(help="Predicted interest that is taken for liked. [default: what gives the best F1 on validation]"),
    ] = None,
    seed: Annotated[int, Parameter(help="Of the users resampled for the intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure a trained model on the events that its split kept from it.

    Every target is ranked among all items seen in training. The result is also written to the run's
    evaluation/PART/: metrics.json, and requests.parquet with one row a request. With --prequential
    instead: with models that are trained anew along the time line, which is onward prequential and has its options.

    Example: onward evaluate runs/sasrec --part test -o report.html
    """
    from onward.cli.progress import ranking_progress
    from onward.evaluate import protocol as library
    from onward.evaluate.interest import DEFAULT_THRESHOLD
    from onward.evaluate.options import KS

    with ranking_progress(str(run)) as progress:
        result = library.evaluate(
            run,
            dataset,
            part,
            external=external,
            protocol=protocol,
            seen=seen,
            cold=cold,
            ks=KS if k is None else k,
            threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
            seed=seed,
            decision=decision,
            progress=progress,
        )
    report = None if out is None else _report(run, result, out, dataset, examples)
    payload = result.model_copy(update={"report": report})
    emit(payload, as_json, lambda: _print(payload))


def _report(run: Path, result: Evaluation, out: Path, dataset: Path | None, examples: int) -> str:
    from onward.cli.progress import steps_progress
    from onward.evaluate.compare import comparison_of_one
    from onward.evaluate.report import write_report
    from onward.evaluate.tracked import track_report

    with steps_progress("timing lists") as step:
        page = comparison_of_one(run, result, dataset)
        report = write_report(page, out, dataset=dataset, examples=examples, on_step=step)
    track_report([run], report)
    return str(report)


def _print(result: Evaluation) -> None:
    out = console()
    split = result.protocol["split"]
    out.print(
        f"[bold]{result.model}[/] on the {result.part} part, protocol '{split}', request time "
        f"'{result.protocol['request_time']}': {result.requests:,} requests of {result.users:,} users. "
        "Means over requests, with 95% intervals:"
    )
    out.print(_metrics_table(result))
    out.print(f"accuracy@1 {_estimate(result.metrics['accuracy@1'])}")
    out.print(f"means over users: {_line(result, result.user_metrics)}")
    if result.counts["interest_pairs"]:
        out.print(_interest_table(result))
    if result.among_cold is not None:
        out.print(f"among the cold items alone: {_line(result, result.among_cold)}")
    if "target_action" in result.slices:
        out.print(_actions_table(result))
    out.print(_lists_table(result))
    for line in _notes(result):
        out.print(line)
    if result.report is not None:
        out.print(f"report: {result.report}")


def _metrics_table(result: Evaluation) -> Table:
    """A row a metric, a column a cut-off. With one target each, recall is the hit rate and MAP is MRR."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    ks = result.protocol["ks"]
    sets = result.counts["targets"] > result.requests
    names = ["ndcg", "hr", "mrr", "precision", "f1", *(["recall", "map"] if sets else [])]
    table = Table("metric", *(f"@{k}" for k in ks), box=SIMPLE_HEAD)
    for name in names:
        table.add_row(name, *(_estimate(result.metrics[f"{name}@{k}"], "\n") for k in ks))
    return table


def _interest_table(result: Evaluation) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    pairs, threshold = result.counts["interest_pairs"], result.protocol["threshold"]
    decided = "" if result.decision is None else f", predicted so from {result.decision:.3f} on"
    table = Table("interest", f"over {pairs:,} pairs, liked from {threshold:g} on{decided}", box=SIMPLE_HEAD)
    for name, value in result.metrics.items():
        if "@" not in name:
            table.add_row(name, _estimate(value))
    bins = [f"{one.predicted:.2f} > {one.observed:.2f}" for one in result.calibration]
    table.add_row("predicted > observed", "\n".join(bins))
    return table


def _actions_table(result: Evaluation) -> Table:
    """The main metrics by action of the target."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    k = 10 if 10 in result.protocol["ks"] else result.protocol["ks"][0]
    table = Table("action of the target", "requests", f"ndcg@{k}", f"hr@{k}", box=SIMPLE_HEAD)
    for row in result.slices["target_action"]:
        values = (_estimate(row.metrics[f"{name}@{k}"]) for name in ("ndcg", "hr"))
        table.add_row(row.label, f"{row.requests:,}", *values)
    return table


def _lists_table(result: Evaluation) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    ks = result.protocol["ks"]
    table = Table("lists", *(f"@{k}" for k in ks), box=SIMPLE_HEAD)
    for name in dict.fromkeys(name.partition("@")[0] for name in result.lists):
        values = [result.lists.get(f"{name}@{k}") for k in ks]
        label = f"diversity ({result.diversity_feature})" if name == "diversity" else name.replace("_", " ")
        table.add_row(label, *("" if value is None else f"{value:.3f}" for value in values))
    return table


def _line(result: Evaluation, values: dict[str, Estimate]) -> str:
    k = 10 if 10 in result.protocol["ks"] else result.protocol["ks"][0]
    return "   ".join(f"{name} {_estimate(values[name])}" for name in (f"ndcg@{k}", f"hr@{k}"))


def _estimate(value: Estimate, between: str = " ") -> str:
    return f"{value.value:.4f}{between}[dim]{value.low:.4f}-{value.high:.4f}[/]"


def _notes(result: Evaluation) -> list[str]:
    counts, protocol = result.counts, result.protocol
    cold = f"{counts['cold_targets']:,} cold targets count as misses"
    if protocol["cold"] in ("items", "users"):
        cold = f"{counts['cold_items']:,} cold items and {counts['cold_users']:,} cold users, by their first event"
    elif protocol["cold"] == "drop":
        cold = f"{counts['dropped_cold_targets']:,} cold targets were left out"
    notes = [
        f"seen items: {protocol['seen']}d; {cold}; {counts['seen_targets']:,} targets already in the history",
        f"candidates: {protocol['candidate_items']:,} {protocol['candidates']}; "
        f"{counts['empty_histories']:,} empty histories; {counts['too_short_users']:,} users too short to predict",
    ]
    if result.detectable:
        metric = result.detectable[0].metric
        found = " or ".join(
            f"{one.share:.1%} ({one.correlation:g})" for one in result.detectable if one.share is not None
        )
        if found:
            notes.append(
                f"smallest change of {metric} that a comparison finds here with 80% power, by the correlation of the "
                f"two models' answers: {found}"
            )
    if result.training_rows is not None:
        notes.append(f"training rows: {result.training_rows.text}")
    if protocol["cold"] == "items" and not protocol["scores_unseen"]:
        notes.append("this model reads no features of items, so its scores of cold items mean nothing")
    if protocol["refit"]:
        notes.append("refit: trained on training + validation")
    if protocol["external"]:
        notes.append(
            f"external data; {counts['unknown_history_events']:,} events of unknown items left out of histories"
        )
    return notes
