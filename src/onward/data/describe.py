"""What is inside a dataset folder, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.arrays import distinct
from onward.data.dataset import CODED, FEATURE, MISSING_TIME, Dataset, Manifest
from onward.data.parts import Parts, default_parts
from onward.data.profile import MEASURES, Measure, Names, Numbers, numbers_of, profile_of
from onward.data.times import describe
from onward.payload import Payload

Table = Literal["events", "items", "users"]
_KINDS = {"item": "id", "time": "time", "action": "category", "value": "number", "group": "group"}
UNCOUNTED = ("id", "group")
"""Kinds whose values mean nothing by themselves: no range, histogram or drift."""


class Bar(Payload):
    """One bar of a histogram."""

    label: str
    """A name, or the lower edge of a step."""
    share: float
    """Share of the rows with a value; members of a set each count."""


class Drift(Payload):
    """How far the test's values lie from the training's."""

    measure: Literal["ks", "psi"]
    """`ks`, of numbers: Kolmogorov-Smirnov, largest distance of the distributions, 0 to 1; `psi`, of names: population
    stability index, 0 for the same shares, above 0.2 by custom a change worth a look."""
    value: float
    """The measure. Items and users count once an event."""


class Column(Payload):
    """One column of a dataset."""

    table: Table
    """Where it is."""
    name: str
    """Its name."""
    kind: str
    """What it holds: id, time, number, category, categories, text, vector or group; "none" for a column of items or
    users that is no feature."""
    missing: float
    """Share of the rows without a value."""
    different: int
    """Number of different values; of sets, of different members."""
    example: str
    """The first value, cut to 60 characters."""
    known_at_request: bool = False
    """Whether it is known of the event to predict."""
    measure: Measure | None = None
    """What range, histogram and drift are of: the value, its time in microseconds UTC, a text's length in characters,
    a vector's length (norm), or how often each name occurs; None for ids and groups."""
    low: float | None = None
    """Smallest measure; None where names are counted, or nothing is."""
    high: float | None = None
    """Largest measure."""
    histogram: list[Bar] = []
    """The commonest names, or equal steps from the 1st to the 99th percentile (the outermost hold what lies beyond)."""
    drift: Drift | None = None
    """From training to test; None where it can't be told."""


class Lengths(Payload):
    """Events a user."""

    min: int
    """Fewest."""
    median: int
    """In the middle."""
    max: int
    """Most."""


class Description(Payload):
    """What is inside a dataset folder."""

    format: Literal["onward.data.describe/1"] = "onward.data.describe/1"
    """Format and version."""
    path: str
    """The folder."""
    manifest: Manifest
    """Its dataset.toml."""
    columns: list[Column]
    """Columns of events, then items, then users."""
    history_lengths: Lengths
    """Events a user."""
    drift_protocol: Literal["time", "last"] | None = None
    """Protocol, with its usual shares, whose training and test are compared; None where neither can be made."""


def describe_dataset(dataset: Dataset) -> Description:
    """Manifest, columns and lengths of histories of an opened dataset."""
    parts = default_parts(dataset.histories)
    arrays = dataset.histories.columns
    named = [name for name in arrays if not name.startswith(FEATURE)]
    columns = [_event_column(name, dataset, parts) for name in named]
    columns += [_event_feature(name, kind, dataset, parts) for name, kind in dataset.manifest.event_features.items()]
    columns += _table_columns("items", dataset.catalog.frame, dataset.manifest.item_features, parts)
    columns += _table_columns("users", dataset.users, dataset.manifest.user_features, parts)
    return Description(
        path=str(dataset.path),
        manifest=dataset.manifest,
        columns=columns,
        history_lengths=_lengths(dataset),
        drift_protocol=None if parts is None else parts.protocol,
    )


def _event_column(name: str, dataset: Dataset, parts: Parts | None) -> Column:
    values = np.asarray(dataset.histories.columns[name])
    kind = _KINDS[name]
    if kind in UNCOUNTED:
        different = dataset.manifest.items if name == "item" else len(distinct(values))
        example = dataset.catalog.id(int(values[0])) if name == "item" else str(values[0])
        return Column(table="events", name=name, kind=kind, missing=0.0, different=different, example=_cut(example))
    known = name in dataset.manifest.known_at_request
    if name == "action":
        return _coded(name, kind, values.astype(np.int64) + 1, pl.Series(dataset.manifest.actions), known, parts)
    by_time = name == "time" and parts is not None and parts.protocol == "time"  # they differ by their making
    return _numbers(name, kind, values, known, None if by_time else parts)


def _event_feature(name: str, kind: str, dataset: Dataset, parts: Parts | None) -> Column:
    values = np.asarray(dataset.histories.columns[FEATURE + name])
    known = name in dataset.manifest.known_at_request
    if kind in CODED:
        return _coded(name, kind, values, dataset.event_values(name), known, parts)
    return _numbers(name, kind, values, known, parts)


def _numbers(name: str, kind: str, values: NDArray[Any], known: bool, parts: Parts | None) -> Column:
    """A column of the events with a number a row."""
    missing = np.isnan(values) if values.dtype.kind == "f" else values == MISSING_TIME
    there = np.flatnonzero(~missing)
    profile, which = numbers_of(values[there])
    code = np.zeros(len(values), dtype=np.int64)
    code[there] = which + 1
    example = "" if not len(there) else describe(int(values[there[0]])) if kind == "time" else f"{values[there[0]]:g}"
    return _column("events", name, kind, profile, len(profile.of), example, code, known, parts)


def _coded(name: str, kind: str, codes: NDArray[Any], values: pl.Series, known: bool, parts: Parts | None) -> Column:
    """A column of the events with codes; 0 is missing, code c is row c - 1 of `values`."""
    profile = profile_of(values, kind)
    different = profile.names.len() if isinstance(profile, Names) else values.len()
    there = np.flatnonzero(codes)
    example = _said(values[int(codes[there[0]]) - 1]) if len(there) else ""
    return _column("events", name, kind, profile, different, example, codes, known, parts)


def _table_columns(table: Table, frame: pl.DataFrame, kinds: Mapping[str, str], parts: Parts | None) -> list[Column]:
    """The ids, then the features; a column that is no feature is of kind "none"."""
    ids, *others = frame.iter_columns()
    return [
        _table_column(table, ids, "id", parts),
        *(_table_column(table, series, kinds.get(series.name, "none"), parts) for series in others),
    ]


def _table_column(table: Table, series: pl.Series, kind: str, parts: Parts | None) -> Column:
    known = series.drop_nulls()
    example = _said(known[0]) if known.len() else ""
    if kind == "id":
        different = series.n_unique()
        return Column(table=table, name=series.name, kind=kind, missing=0.0, different=different, example=_cut(example))
    profile = profile_of(series, kind)
    different = profile.names.len() if isinstance(profile, Names) else known.n_unique()
    codes = np.where(series.is_null().to_numpy(), 0, np.arange(1, series.len() + 1))
    return _column(table, series.name, kind, profile, different, example, codes, False, parts)


def _column(
    table: Table,
    name: str,
    kind: str,
    profile: Numbers | Names,
    different: int,
    example: str,
    codes: NDArray[Any],
    known: bool,
    parts: Parts | None,
) -> Column:
    """Figures of one column; `codes` say which value each row has, 0 for none and c for the profile's c - 1."""
    rows = np.bincount(codes, minlength=int(codes.max(initial=0)) + 1).astype(np.float64)
    size = len(profile.of) if isinstance(profile, Numbers) else int(profile.member.max(initial=-1)) + 1
    rows = np.pad(rows, (0, max(0, size + 1 - len(rows))))
    drift = None
    if parts is not None:
        measure, found = profile.drift(*parts.events(table, codes, len(rows)))
        drift = None if found is None else Drift(measure=measure, value=found)
    limits = profile.range(rows[1:])
    return Column(
        table=table,
        name=name,
        kind=kind,
        missing=float(rows[0] / max(len(codes), 1)),
        different=different,
        example=_cut(example),
        known_at_request=known,
        measure=MEASURES.get(kind, "names"),
        low=limits[0] if limits else None,
        high=limits[1] if limits else None,
        histogram=[Bar(label=_cut(label), share=share) for label, share in profile.bars(rows[1:])],
        drift=drift,
    )


def _said(value: Any) -> str:
    if isinstance(value, pl.Series):
        return ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value.head(20))
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _lengths(dataset: Dataset) -> Lengths:
    lengths = dataset.histories.lengths
    return Lengths(min=int(lengths.min()), median=int(np.median(lengths)), max=int(lengths.max()))
