"""Vectors of items from `.npy` files: embeddings of images, sounds or texts that something else has made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.features.typed import vectors_of
from onward.data.readers import Source
from onward.data.schema import read_ids, usual_column
from onward.errors import ConfigError, DataError


@dataclass(frozen=True)
class VectorFile:
    """One `NAME=FILE.npy[:IDS]`.

    Attributes:
        name: of the feature.
        file: (n, d) numbers.
        ids: text file with the item id of each row, one a line; None where the rows are those of the item table.
    """

    name: str
    file: Path
    ids: Path | None


def parse_vector_file(text: str) -> VectorFile:
    """Read `NAME=FILE.npy` or `NAME=FILE.npy:IDS`. Raises ConfigError for anything else."""
    found = re.fullmatch(r"([^=]+)=(.+?\.npy)(?::(.+))?", text)
    if found is None:
        raise ConfigError(
            f"--item-vectors {text!r} is not of the form NAME=FILE.npy or NAME=FILE.npy:IDS",
            "for example --item-vectors image=images.npy:image_ids.txt",
        )
    return VectorFile(found[1], Path(found[2]), Path(found[3]) if found[3] else None)


def read_item_vectors(
    files: Sequence[VectorFile], tables: Sequence[Source], given: str, items: pl.Series
) -> tuple[list[pl.Series], list[str]]:
    """The vectors as columns of the catalog: (List(Float32) columns, in item order, null where missing; notes).

    A row of the file that is NaN throughout is a missing vector.

    Args:
        tables: the item tables; the rows of a file without ids are those of the one table.
        given: name of the log's item column.
        items: ids, in index order.

    Raises:
        ConfigError: a file without ids where there isn't one item table.
        DataError: a file that is missing, no array of numbers in two dimensions, or not as long as its ids; a number
            that is NaN or infinite; an id that comes twice; no id that the log has. Names file, row and column.
    """
    columns: list[pl.Series] = []
    notes: list[str] = []
    for one in files:
        if one.name in [column.name for column in columns]:
            raise ConfigError(f"--item-vectors: '{one.name}' is given twice", "give each file a name of its own")
        vectors = _load(one.file)
        ids = _ids(one, tables, given)
        if ids.len() != len(vectors):
            raise DataError(
                f"{one.file.name} has {len(vectors):,} rows, and {one.ids or tables[0].name} has {ids.len():,} ids",
                "each row needs its item",
            )
        again = ids.filter(~ids.is_first_distinct())
        if again.len():
            rows = (ids == again[0]).arg_true() + 1
            raise DataError(
                f"{one.file.name}: column '{one.name}': item '{again[0]}' has the rows {rows[0]} and {rows[1]}",
                "keep one row an item",
            )
        there = _check(vectors, one)
        column, said = _place(one, vectors, there, ids, items)
        columns.append(column)
        notes += said
    return columns, notes


def _load(file: Path) -> NDArray[Any]:
    try:
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"no such file: {file}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{file.name} is not a sound .npy file: {error}", "write it with numpy.save, as numbers"
        ) from None
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.size:
        shape = getattr(vectors, "shape", "no")
        raise DataError(
            f"{file.name} has shape {shape} and type {getattr(vectors, 'dtype', '?')}",
            "vectors are a table of numbers, (items, width)",
        )
    return vectors


def _ids(one: VectorFile, tables: Sequence[Source], given: str) -> pl.Series:
    if one.ids is not None:
        if not one.ids.is_file():
            raise DataError(f"no such file: {one.ids}")
        try:
            return pl.Series(one.ids.read_text(encoding="utf-8").splitlines(), dtype=pl.String)
        except UnicodeDecodeError as error:
            raise DataError(f"{one.ids} is not UTF-8 (byte {error.start})") from None
    if len(tables) != 1:
        raise ConfigError(
            f"--item-vectors {one.name}: which item is a row of {one.file.name}?",
            f"give the ids, one a line: {one.name}={one.file}:ids.txt; or --items, one table in the same order",
        )
    source = tables[0]
    name = given if given in source.columns else usual_column("item", source.columns) or "id"
    parts = [read_ids(chunk[name], "item", source.untyped)[0] for _, chunk in source.read([name])]
    return pl.concat(parts) if parts else pl.Series([], dtype=pl.String)


def _check(vectors: NDArray[Any], one: VectorFile) -> NDArray[np.bool_]:
    """(n,) bool: rows that hold a vector."""
    sound = np.isfinite(vectors.astype(np.float32))
    there = np.ones(len(vectors), dtype=np.bool_)
    if vectors.dtype.kind == "f":
        there &= ~np.isnan(vectors).all(axis=1)
    wrong = np.flatnonzero(there & ~sound.all(axis=1))
    if len(wrong):
        row = int(wrong[0])
        at = int(np.flatnonzero(~sound[row])[0])
        said = "NaN" if np.isnan(vectors[row, at]) else f"{vectors[row, at]:g}, which is no 32-bit number"
        raise DataError(
            f"{one.file.name} row {row + 1}: column '{one.name}' holds {said} at place {at + 1} of {vectors.shape[1]}",
            "mend it, or make the whole row NaN for a missing vector",
        )
    return there


def _place(
    one: VectorFile, vectors: NDArray[Any], there: NDArray[np.bool_], ids: pl.Series, items: pl.Series
) -> tuple[pl.Series, list[str]]:
    known = pl.DataFrame({"id": ids, "row": pl.Series(range(ids.len()), dtype=pl.Int64)}).filter(pl.Series(there))
    rows = pl.DataFrame({"id": items}).join(known, on="id", how="left", maintain_order="left")["row"]
    found = rows.is_not_null().to_numpy()
    if not found.any():
        raise DataError(
            f"{one.file.name}: none of its {ids.len():,} items has events: row 1 is '{ids[0]}', and the log's first "
            f"item is '{items[0]}'",
            "are these the ids of the log?",
        )
    made = np.zeros((items.len(), vectors.shape[1]), dtype=np.float32)
    made[found] = vectors[rows.drop_nulls().to_numpy()]
    notes = [f"{one.name} = vectors of {vectors.shape[1]} numbers from {one.file.name}, for {found.sum():,} items"]
    if not found.all():
        notes[0] += f"; {int((~found).sum()):,} items have none"
    unused = known.height - int(found.sum())
    if unused:
        notes[0] += f"; {unused:,} vectors of items without events are left out"
    return vectors_of(made, found).alias(one.name), notes
