"""`onward prequential`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, Track, console, emit, listed
from onward.config import Config, FineTuneConfig, apply_settings

if TYPE_CHECKING:
    from rich.table import Table

    from onward.evaluate.results import Estimate
    from onward.prequential.results import Prequential


class Given(Config):
    """What `--set` can say."""

    fine_tune: FineTuneConfig = FineTuneConfig()
    """How `fine-tune` goes on."""


def prequential(
    run: Annotated[Path, Parameter(help="A run with a split by time; its settings are those of every training.")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the walk to write.")] = Path("walk"),
    dataset: Annotated[
        Path | None, Parameter(help="The data set of the training; by default where it was then. Checked by its hash.")
    ] = None,
    part: Annotated[
        Literal["valid", "test"], Parameter(help="Which part to walk over; valid, to choose how to refit.")
    ] = "test",
    every: Annotated[
        str | None,
        Parameter(help="Length of a period: 1d, 12h, 2w, or a number of events. [default: ten of equal size]"),
    ] = None,
    policies: Annotated[
        str | None,
        Parameter(
            help="Refit policies, with commas: never, full, fine-tune, full:4 (every fourth period). "
            "[default: never,full,fine-tune]"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        Parameter(
            name="--set", help="How fine-tune goes on: fine_tune.budget=0.1, fine_tune.replay=0.5...", negative=""
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="Of the users resampled for the intervals.")] = 0,
    track: Track = None,
    resume: Annotated[bool, Parameter(help="Go on with the walk in the folder.", negative="")] = False,
    overwrite: Annotated[bool, Parameter(help="Replace a walk that is there.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Evaluate as in production: predict a period, learn from it, go on to the next, by several refit policies.

    Compares their quality on the same requests and what their trainings cost, and says what a delay costs. Every model
    is trained on what came before the period that it predicts; histories are the users' up to each request. The folder
    holds models, answers, result.json and report.html; a walk that was cut off goes on with --resume.

    Example: onward prequential runs/sasrec --every 1d -o walk
    """
    from onward.cli.progress import named_progress
    from onward.prequential import walk as library

    names = None if policies is None else [name.strip() for name in policies.split(",")]
    given = Given.parse(apply_settings({}, settings or ()))
    with named_progress() as progress:
        try:
            result = library.prequential(
                run,
                out,
                dataset=dataset,
                part=part,
                every=every,
                policies=names,
                fine_tune=given.fine_tune,
                seed=seed,
                resume=resume,
                overwrite=overwrite,
                track=listed(track),
                on_step=progress,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt("go on with: the same command and --resume") from None
    emit(result, as_json, lambda: _print(result))


def _print(result: Prequential) -> None:
    from onward.evaluate import report_text as text
    from onward.prequential.report import sentences

    out = console()
    requests = sum(period.requests for period in result.periods)
    first, last = result.periods[0], result.periods[-1]
    out.print(
        f"[bold]{result.model}[/], {len(result.periods)} periods from {text.day(first.start)} to "
        f"{text.day(last.end)}: {requests:,} requests. NDCG@10 with 95% intervals, against '{result.reference}':"
    )
    out.print(_table(result))
    for said in sentences(result):
        out.print(said, markup=False)
    out.print(f"report: {result.report}", markup=False)


def _table(result: Prequential) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from onward.evaluate import report_text as text

    returning = any(one.returning is not None for one in result.policies)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("policy", "ndcg@10", *(["returning"] if returning else []), "change, p"):
        table.add_column(heading, no_wrap=True)
    for heading in ("refits", "train s", "of full"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in result.policies:
        scope, share = one.overall, one.share_of_processor_seconds
        p = "" if scope.p_holm is None else text.p_value(scope.p_holm)
        table.add_row(
            f"[bold]{one.policy}[/]",
            _estimate(scope.metrics["ndcg@10"]),
            *([_estimate(one.returning.metrics["ndcg@10"])] if one.returning is not None else []),
            p if scope.relative is None else f"{scope.relative.value:+.1%}\n[dim]{p}[/]",
            str(one.refits.trainings),
            f"{one.refits.seconds:.1f}\n[dim]{one.refits.processor_seconds:.1f} cpu[/]",
            "" if share is None else text.percent(share),
        )
    return table


def _estimate(value: Estimate) -> str:
    return f"{value.value:.4f}\n[dim]{value.low:.4f}-{value.high:.4f}[/]"
