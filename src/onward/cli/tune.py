"""`onward tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from onward.cli.auto import Budget, Out, Overwrite, PreparedData, Resume, Seed, Settings, Split, run_search
from onward.cli.common import Json, Track, tracking


def tune(
    dataset: PreparedData,
    /,
    *,
    model: Annotated[str, Parameter(name=["--model", "-m"], help="Model to tune; `onward models` lists them.")],
    budget: Budget = None,
    out: Out = Path("search"),
    protocol: Split = None,
    seed: Seed = None,
    track: Track = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find the best settings of one model within a budget of time.

    What is searched stands beside the model's settings (`onward models NAME`). Ends as `onward auto` does, with
    popularity as the baseline.

    Example: onward tune dataset/ -m esasrec --budget 20m -o search
    """
    run_search(
        dataset, [model], budget, out, protocol, seed, [*tracking(track), *(settings or ())], resume, overwrite, as_json
    )
