"""What an item is by its features alone, as one vector whose products with another's say how alike they are.

Each column becomes a block of numbers of length one (zero where it is missing): texts and vectors as they are given,
categories and sets as hashed bags. Numbers and times, which say little about likeness without being weighed against the
rest, are left out. A vector is the blocks side by side, at length one.

Legend: n items, d numbers of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.models.features.category_column import CategoryColumn, bucket, members
from onward.models.features.columns import Column
from onward.models.features.vector_column import VectorColumn, vectors_of

KINDS = ("text", "category", "categories", "vector")
BAG_WIDTH = 512
"""Numbers of a hashed bag."""

Floats = NDArray[np.float32]


def content_block(values: pl.Series, kind: str, encoder: str = "") -> Floats:
    """(n, d) float32 of one column, as it is in the table; zero where it is missing.

    Args:
        encoder: of a text.
    """
    if kind in ("text", "vector"):
        known = values.is_not_null().to_numpy()
        given = vectors_of(values.drop_nulls(), encoder if kind == "text" else "")
        vectors = np.zeros((len(values), given.shape[1]), np.float32)
        vectors[known] = given
        return unit(vectors)
    return unit(_bags(values, kind))


def compared(columns: Sequence[Column]) -> list[CategoryColumn | VectorColumn]:
    """Those of fitted columns that say how alike items are."""
    return [
        column
        for column in columns
        if column.owner == "items" and isinstance(column, CategoryColumn | VectorColumn) and column.kind in KINDS
    ]


def content_vectors(columns: Sequence[CategoryColumn | VectorColumn], frame: pl.DataFrame) -> Floats:
    """(n, D) float32 of the items of a table, by fitted columns: texts and vectors centred as the training's.

    A column that the table lacks, and a vector of another width, is missing.
    """
    blocks = []
    for column in columns:
        values = frame[column.name] if column.name in frame.columns else pl.Series([None] * frame.height)
        if isinstance(column, VectorColumn):
            blocks.append(unit(column.read(values)[:, :-1]))
        else:
            blocks.append(unit(_bags(values, column.kind)))
    return unit(np.concatenate(blocks, axis=1))


def unit(rows: Floats) -> Floats:
    """Rows at length one; zero stays zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norm == 0, 1, norm)).astype(np.float32)


def _bags(values: pl.Series, kind: str) -> Floats:
    """(n, BAG_WIDTH) float32: each value adds 1 or -1 at a place, by a hash of it."""
    sets = members(values) if kind == "categories" else values.cast(pl.String).reshape((-1, 1)).arr.to_list()
    row = np.repeat(np.arange(len(sets)), sets.list.len().fill_null(0).to_numpy())
    flat = sets.explode(empty_as_null=False, keep_nulls=False)
    known = flat.is_not_null().to_numpy()
    row, flat = row[known], flat.drop_nulls()
    distinct = flat.unique()
    hashes = [bucket(value, 2 * BAG_WIDTH) for value in distinct]
    place = flat.replace_strict(distinct, hashes, return_dtype=pl.Int64).to_numpy() if len(flat) else np.zeros(0, int)
    sums = np.bincount(row * BAG_WIDTH + place // 2, 1.0 - 2.0 * (place % 2), minlength=len(sets) * BAG_WIDTH)
    return sums.reshape(-1, BAG_WIDTH).astype(np.float32)
