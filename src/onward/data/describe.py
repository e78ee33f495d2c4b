"""What is inside a dataset folder, column by column."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.dataset import Dataset, Manifest
from onward.data.times import describe
from onward.payload import Payload

Table = Literal["events", "items", "users"]
_KINDS = {"item": "id", "time": "time", "action": "category", "value": "number", "group": "group"}


class Column(Payload):
    """One column of a dataset."""

    table: Table
    """Where it is."""
    name: str
    """Its name."""
    kind: str
    """What it holds: id, time, number, category, categories, text, vector or group."""
    missing: float
    """Share of the rows without a value."""
    different: int
    """Number of different values."""
    example: str
    """The first value, cut to 60 characters."""


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


def describe_dataset(dataset: Dataset) -> Description:
    """Manifest, columns and lengths of histories of an opened dataset."""
    return Description(
        path=str(dataset.path),
        manifest=dataset.manifest,
        columns=_columns(dataset),
        history_lengths=_lengths(dataset),
    )


def _columns(dataset: Dataset) -> list[Column]:
    manifest = dataset.manifest
    rows = [_event_column(name, np.asarray(array), dataset) for name, array in dataset.histories.columns.items()]
    items = {"item": "id", **manifest.item_features}
    users = {"user": "id", **manifest.user_features}
    rows += [_feature_column("items", dataset.catalog.frame[name], kind) for name, kind in items.items()]
    rows += [_feature_column("users", dataset.users[name], kind) for name, kind in users.items()]
    return rows


def _event_column(name: str, values: NDArray[Any], dataset: Dataset) -> Column:
    missing = float(np.isnan(values).mean()) if values.dtype.kind == "f" else 0.0
    different = dataset.manifest.items if name == "item" else len(np.unique(values))
    first = values[0]
    if name == "item":
        example = dataset.catalog.id(int(first))
    elif name == "time":
        example = describe(int(first))
    elif name == "action":
        example = dataset.manifest.actions[int(first)]
    else:
        example = f"{first:g}"
    return _row("events", name, _KINDS[name], missing, different, example)


def _feature_column(table: Table, series: pl.Series, kind: str) -> Column:
    known = series.drop_nulls()
    flat = known.explode(empty_as_null=False) if isinstance(known.dtype, pl.List) else known
    example = known[0] if known.len() else ""
    if isinstance(example, pl.Series):
        example = ", ".join(map(str, example.to_list()))
    return _row(table, series.name, kind, series.null_count() / max(series.len(), 1), flat.n_unique(), str(example))


def _row(table: Table, name: str, kind: str, missing: float, different: int, example: str) -> Column:
    shown = example if len(example) <= 60 else example[:59] + "…"
    return Column(table=table, name=name, kind=kind, missing=missing, different=different, example=shown)


def _lengths(dataset: Dataset) -> Lengths:
    lengths = dataset.histories.lengths
    return Lengths(min=int(lengths.min()), median=int(np.median(lengths)), max=int(lengths.max()))
