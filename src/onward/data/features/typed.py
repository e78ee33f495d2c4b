"""Feature columns of item and user tables, whole columns at once: declared kinds, and what no column may hold."""

from __future__ import annotations

import numpy as np
import polars as pl

from onward.data.features.cells import (
    Place,
    check_finite,
    check_texts,
    read_categories,
    read_numbers,
    read_sets,
    read_vectors,
)
from onward.data.features.kinds import Kind, family
from onward.data.times import Times


def as_kind(cells: pl.Series, kind: Kind, place: Place, recbole: str | None) -> pl.Series:
    """A column as its declared kind: text, List(String), Float64, List(Float32) or Datetime (microseconds, UTC).

    Whole numbers stay whole as numbers and as categories.

    Args:
        recbole: RecBole's type of the column, where the table has them.

    Raises:
        DataError: a cell that isn't of this kind; names table, row and column.
    """
    whole = family(cells.dtype) == "whole"
    if kind == "number":
        return cells if whole else read_numbers(cells, place)
    if kind in ("category", "text"):
        return cells if whole and kind == "category" else read_categories(cells, place)
    if kind == "categories":
        return read_sets(cells, place, " " if recbole == "token_seq" else None)
    if kind == "vector":
        return vectors_of(*read_vectors(cells, place))
    if family(cells.dtype) in ("flag", "set", "vector", "other"):
        raise place.wrong_type("time", cells.dtype)
    read, reasons = Times().read(cells, place.where, 1)
    if reasons is not None and (reasons == "unreadable time").any():
        at = int((reasons == "unreadable time").fill_null(False).arg_true()[0])
        raise place.mismatch(at, "time", cells[at])
    return read.cast(pl.Datetime("us"))


def vectors_of(vectors: np.ndarray, there: np.ndarray) -> pl.Series:
    """(n, d) float32 as a List(Float32) column, null where there is none."""
    lists = (
        pl.Series(vectors).arr.to_list()
        if vectors.shape[1]
        else pl.Series([None] * len(there), dtype=pl.List(pl.Float32))
    )
    return lists if there.all() else lists.set(pl.Series(~there), None)


def check_cells(cells: pl.Series, place: Place) -> pl.Series:
    """An inferred column, with NaN as missing.

    Raises:
        DataError: an infinite number, a text above MAX_TEXT bytes, vectors of different widths or with NaN in them;
            names table, row and column.
    """
    kind = family(cells.dtype)
    if kind == "number":
        check_finite(cells, place)
        return cells.fill_nan(None)
    if kind == "text":
        check_texts(cells.cast(pl.String), place)
    elif kind == "vector":
        read_vectors(cells, place)
    return cells
