"""The content hash of a data set: the same events, ids and features give the same hash, whatever wrote the files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

_SLICE = 1 << 22


def content_hash(
    events: Mapping[str, NDArray[Any]],
    items: pl.DataFrame,
    users: pl.DataFrame,
    actions: Sequence[str],
    more: Mapping[str, pl.DataFrame],
) -> str:
    """SHA-256, in hex, over the event arrays, the ids with their features, the names of the actions, and more tables.

    Args:
        more: name -> table that only some data sets have: values of event features, links.
    """
    digest = hashlib.sha256()
    for name in sorted(events):
        column = events[name]
        digest.update(f"{name} {column.dtype.str} {len(column)}\n".encode())
        for first in range(0, len(column), _SLICE):
            digest.update(np.ascontiguousarray(column[first : first + _SLICE]).data)
    for frame in (items, users):
        for series in frame.iter_columns():
            digest.update(f"{series.name} {series.dtype} {series.len()}\n".encode())
            _update(digest, series)
    digest.update("\n".join(actions).encode())
    for name in sorted(more):
        digest.update(f"\n{name}\n".encode())
        for series in more[name].iter_columns():
            digest.update(f"{series.name} {series.dtype} {series.len()}\n".encode())
            _update(digest, series)
    return digest.hexdigest()


def _update(digest: Any, series: pl.Series) -> None:
    digest.update(np.packbits(series.is_null().to_numpy()).tobytes())
    if isinstance(series.dtype, pl.List):
        digest.update(series.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
        _update(digest, series.drop_nulls().explode(empty_as_null=False))
    elif series.dtype == pl.String:
        texts = series.fill_null("")
        digest.update(texts.str.len_bytes().cast(pl.Int64).to_numpy().tobytes())
        digest.update("".join(texts.to_list()).encode())
    else:
        numbers = series.cast(pl.UInt8) if series.dtype == pl.Boolean else series.to_physical()
        digest.update(numbers.fill_null(0).to_numpy().tobytes())
