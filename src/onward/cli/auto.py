"""`onward auto`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, Track, console, emit, tracking

if TYPE_CHECKING:
    from rich.table import Table

    from onward.search.results import SearchResult

Budget = Annotated[
    str | None,
    Parameter(help="Wall-clock time, the test included: 90s, 30m, 1h30m. [default: 30m, or what is left on --resume]"),
]
PreparedData = Annotated[Path, Parameter(help="A folder made by `onward prepare`.")]
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the search to write.")]
Split = Annotated[Literal["last", "time", "users"] | None, Parameter(help="How events are divided. [default: time]")]
Seed = Annotated[int | None, Parameter(help="Of the search and of every training. [default: 0]")]
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        help="A setting of every trial, KEY=VALUE, which is then not searched: train.epochs=20...",
        negative="",
    ),
]
Resume = Annotated[bool, Parameter(help="Go on with the search in the folder.", negative="")]
Overwrite = Annotated[bool, Parameter(help="Replace a search that is there.", negative="")]


def auto(
    dataset: PreparedData,
    /,
    *,
    budget: Budget = None,
    out: Out = Path("search"),
    models: Annotated[
        str | None,
        Parameter(help="Models to choose from, with commas. [default: what data and budget suggest]"),
    ] = None,
    protocol: Split = None,
    seed: Seed = None,
    track: Track = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find the best model and settings for a dataset within a budget of time.

    Looks at the data, tries the models that suit it, each for an equal share of the time first, then the better ones,
    and chooses on the validation part. Ends with the best of each on the test part, looked at once, and the best
    bundle. Ctrl-C keeps the best so far; --resume goes on.

    Example: onward auto dataset/ --budget 30m -o search
    """
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    run_search(
        dataset, names, budget, out, protocol, seed, [*tracking(track), *(settings or ())], resume, overwrite, as_json
    )


def run_search(
    dataset: Path,
    models: list[str],
    budget: str | None,
    out: Path,
    protocol: str | None,
    seed: int | None,
    settings: list[str],
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Search and print what came of it; what `auto` and `tune` share."""
    since = time.monotonic()  # what loading the libraries takes is part of the budget
    from onward.search.budget import parse_duration
    from onward.search.run import auto as search

    seconds = None if budget is None else parse_duration(budget)
    try:
        result = search(
            dataset,
            out,
            budget=seconds,
            models=models,
            protocol=protocol,
            seed=seed,
            settings=settings,
            resume=resume,
            overwrite=overwrite,
            since=since,
        )
    except KeyboardInterrupt:
        best = f"the best so far is {out / 'best'}; " if (out / "best").is_dir() else ""
        raise KeyboardInterrupt(f"{best}go on with: the same command and --resume") from None
    emit(result, as_json, lambda: _print(result))


def _print(result: SearchResult) -> None:
    from rich.markup import escape

    from onward.search.budget import say_duration
    from onward.search.study import settings_text

    out = console()
    trials = sum(one.trials for one in result.families)
    pruned = sum(one.pruned for one in result.families)
    out.print(
        f"{trials} trials in {say_duration(result.seconds)}, {pruned} ended early, {len(result.failures)} failed; "
        f"protocol '{result.protocol.protocol}', request time '{result.protocol.request_time}'"
    )
    out.print(_table(result))
    if len(result.test) > 1:
        out.print(f"p: paired bootstrap over users of ndcg@10 against '{result.best}', adjusted (Holm)")
    if result.tested_before:
        out.print(f"the test part had been looked at before, with {result.tested_before} runs of this search")
    best = result.families[0]
    out.print(f"[bold]{result.best}[/]: {escape(settings_text(best.settings))}")
    if best.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in best.importance.items())
        out.print(f"what decided: {shares}")
    for failed in result.failures:
        out.print(f"failed: {failed.model} {failed.number}: {escape(failed.error)}")
    out.print(f"bundle: {result.bundle}    again, to the same bits: {escape(result.command)}")


def _table(result: SearchResult) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("model", "test ndcg@10", "hr@10", box=SIMPLE_HEAD)
    for heading in ("p", f"validation {result.metric}", "trials", "early"):
        table.add_column(heading, justify="right")
    families = {one.model: one for one in result.families}
    for row in result.test:
        family = families[row.model]
        shown = [row.metrics[name] for name in ("ndcg@10", "hr@10")]
        table.add_row(
            f"[bold]{row.model}[/]",
            *(f"{one.value:.4f} [dim]{one.low:.4f}-{one.high:.4f}[/]" for one in shown),
            "" if row.p_holm is None else f"{row.p_holm:.3f}",
            f"{family.validation:.4f}",
            str(family.trials),
            str(family.pruned),
        )
    return table
