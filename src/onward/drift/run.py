"""Whether retraining is due: ADWIN over the streams of a walk or a store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from onward.drift.adwin import DELTA, changes
from onward.drift.streams import Stream, read_streams
from onward.payload import Payload
from onward.serve.settings import ImpressionsConfig


class DriftChange(Payload):
    """A change of a stream's mean."""

    found: int
    """When it was found, microseconds UTC."""
    since: int
    """From about when on things are different, microseconds UTC."""
    values: int
    """Values from then until it was found."""
    before: float
    """Mean before."""
    after: float
    """Mean after."""
    due: bool
    """Whether it calls for training again."""


class DriftStream(Payload):
    """One stream that was watched."""

    name: str
    """What its values are."""
    values: int
    """Their number."""
    mean: float
    """Their mean."""
    changes: list[DriftChange]
    """In order of time."""


class Drift(Payload):
    """Whether retraining is due."""

    format: Literal["onward.drift/1"] = "onward.drift/1"
    """Format and version."""
    source: Literal["walk", "store"]
    """What was looked at."""
    path: str
    """Where it is."""
    delta: float
    """Confidence of the detector."""
    streams: list[DriftStream]
    """What was watched."""
    due: bool
    """Whether some change calls for training again."""
    due_since: int | None
    """When the first such change was found, microseconds UTC."""


def drift(folder: str | Path, delta: float = DELTA, click_hours: float | None = None) -> Drift:
    """Look for changes: in the hit rates of a walk's policies, or the click rate of the model that a store's server
    uses, and in how popular the items are that are asked for.

    A fall of a rate, and any change of the popularity, calls for training again.

    Args:
        folder: of a walk (`onward.prequential`), or what `onward store export` wrote.
        delta: as in `onward.drift.adwin`.
        click_hours: how long after its list a click counts, as in `serve.toml`; younger lists are left out.

    Raises:
        FormatError: the folder is neither.
        ConfigError: nothing to look at, or a delta that is no chance.
        MissingExtraError: the extra `drift` isn't installed.
    """
    hours = ImpressionsConfig().click_hours if click_hours is None else click_hours
    source, streams = read_streams(Path(folder), hours)
    watched = [_watched(stream, delta) for stream in streams]
    due = [change.found for stream in watched for change in stream.changes if change.due]
    return Drift(
        source=source,
        path=str(folder),
        delta=delta,
        streams=watched,
        due=bool(due),
        due_since=min(due, default=None),
    )


def _watched(stream: Stream, delta: float) -> DriftStream:
    found = [
        DriftChange(
            found=int(stream.times[one.found]),
            since=int(stream.times[one.since]),
            values=one.found + 1 - one.since,
            before=one.before,
            after=one.after,
            due=not stream.falls or one.after < one.before,
        )
        for one in changes(stream.values, delta)
    ]
    return DriftStream(name=stream.name, values=len(stream.values), mean=float(stream.values.mean()), changes=found)
