"""`onward drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, console, emit

if TYPE_CHECKING:
    from onward.drift.run import Drift


def drift(
    folder: Annotated[Path, Parameter(help="A walk, or what `onward store export` wrote.")],
    /,
    *,
    delta: Annotated[
        float | None, Parameter(help="Confidence of the detector; less gives fewer alarms. [default: 0.002]")
    ] = None,
    click_hours: Annotated[
        float | None,
        Parameter(help="Of a store: hours in which a click counts; younger lists are left out. [default: as served]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether retraining is due: changes of hit rate or click rate and of popularity, found by ADWIN.

    Needs the extra `drift`: pip install 'onward[drift]'.

    Example: onward drift walk
    """
    from onward.drift import run as library
    from onward.drift.adwin import DELTA

    result = library.drift(folder, DELTA if delta is None else delta, click_hours)
    emit(result, as_json, lambda: _print(result))


def _print(result: Drift) -> None:
    from onward.data.times import describe

    out = console()
    for stream in result.streams:
        out.print(f"[bold]{stream.name}[/]: {stream.mean:.4f} on average over {stream.values:,} values")
        for change in stream.changes:
            out.print(
                f"  {change.before:.4f} to {change.after:.4f} from about {describe(change.since)}, found after "
                f"{change.values:,} values, {describe(change.found)}" + ("" if change.due else " (no harm)")
            )
    if result.due and result.due_since is not None:
        out.print(f"[bold]retraining is due[/], since {describe(result.due_since)}")
    else:
        out.print("nothing calls for retraining")
