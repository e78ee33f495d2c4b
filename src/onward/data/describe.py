"""What is inside a dataset folder, column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.dataset import Dataset
from onward.data.times import describe

_KINDS = {"item": "id", "time": "time", "action": "category", "value": "number", "group": "group"}


def describe_columns(dataset: Dataset) -> list[dict[str, Any]]:
    """One row a column of events, items and users: table, name, kind, missing share, different values, an example."""
    manifest = dataset.manifest
    rows = [_event_column(name, np.asarray(array), dataset) for name, array in dataset.histories.columns.items()]
    for table, frame, kinds in (
        ("items", dataset.catalog.frame, {"item": "id", **manifest.item_features}),
        ("users", dataset.users, {"user": "id", **manifest.user_features}),
    ):
        rows += [_feature_column(table, frame[name], kind) for name, kind in kinds.items()]
    return rows


def _event_column(name: str, values: NDArray[Any], dataset: Dataset) -> dict[str, Any]:
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


def _feature_column(table: str, series: pl.Series, kind: str) -> dict[str, Any]:
    known = series.drop_nulls()
    flat = known.explode(empty_as_null=False) if isinstance(known.dtype, pl.List) else known
    example = known[0] if known.len() else ""
    if isinstance(example, pl.Series):
        example = ", ".join(map(str, example.to_list()))
    return _row(table, series.name, kind, series.null_count() / max(series.len(), 1), flat.n_unique(), str(example))


def _row(table: str, name: str, kind: str, missing: float, different: int, example: str) -> dict[str, Any]:
    return {
        "table": table,
        "name": name,
        "kind": kind,
        "missing": missing,
        "different": different,
        "example": example if len(example) <= 60 else example[:59] + "…",
    }


def history_lengths(dataset: Dataset) -> dict[str, int]:
    """Smallest, median and largest number of events a user."""
    lengths = dataset.histories.lengths
    return {"min": int(lengths.min()), "median": int(np.median(lengths)), "max": int(lengths.max())}
