"""Cells of one column, read as one kind; what can't be read is an error that names table, row and column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.features.kinds import MAX_TEXT, Owner, family
from onward.errors import DataError

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "\\N"]
"""What stands for no value in columns of numbers, times and vectors that are text."""
_MEMBERS = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\[\],\s'"][^\[\],]*"""
_NUMBERS = r"^\[(?:[-+\d.eE,;\s]|(?i:nan|null|none|inf(?:inity)?))*\]$"
_FRACTION = r"\d\.\d|\d[eE]|(?i:nan)"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where some cells come from, for messages.

    Attributes:
        where: name of the table.
        rows: number of the first row, or of every row, from 1.
        declared: name of the file that says the column's kind; None where it was inferred.
    """

    where: str
    owner: Owner
    column: str
    rows: int | NDArray[np.int64]
    declared: str | None = None

    def row(self, index: int) -> int:
        """Row number of a cell."""
        return self.rows + index if isinstance(self.rows, int) else int(self.rows[index])

    def fault(self, index: int, problem: str, hint: str = "mend it") -> DataError:
        """An error about one cell."""
        return DataError(
            f"{self.where} row {self.row(index)}: column '{self.column}' {problem}",
            f"{hint}; or leave the column out: in features.toml, [{self.owner}.{self.column}] use = false",
        )

    def mismatch(self, index: int, kind: str, cell: object) -> DataError:
        """An error about a cell that isn't of the column's kind."""
        shown = str(cell) if len(str(cell)) <= 60 else f"{str(cell)[:59]}…"
        by = f"{self.declared} says" if self.declared else "the other rows say"
        return self.fault(index, f"is a {kind}, {by}, and '{shown}' is not", "mend it, or declare another kind")

    def wrong_type(self, kind: str, dtype: pl.DataType) -> DataError:
        """An error about a column whose type can't be read as a kind."""
        return DataError(
            f"{self.where}: column '{self.column}' has type {dtype}, which can't be a {kind}, "
            f"as {self.declared or 'other tables'} would have it",
            "declare another kind, or leave the column out: use = false",
        )


def read_numbers(cells: pl.Series, place: Place) -> pl.Series:
    """Float64, null where missing.

    Raises:
        DataError: a text that is no number, an infinite number, a type that can't be numbers.
    """
    kind = family(cells.dtype)
    if kind == "text":
        text = cells.cast(pl.String).str.strip_chars()
        text = text.set(text.is_in(MISSING), None)
        numbers = text.cast(pl.Float64, strict=False)
        wrong = numbers.is_null() & text.is_not_null()
        if wrong.any():
            at = int(wrong.arg_true()[0])
            raise place.mismatch(at, "number", cells[at])
    elif kind in ("flag", "whole", "number", "empty"):
        numbers = cells.cast(pl.Float64)
    else:
        raise place.wrong_type("number", cells.dtype)
    check_finite(numbers, place)
    return numbers.fill_nan(None)


def check_finite(numbers: pl.Series, place: Place) -> None:
    """Raise DataError for the first number that is infinite, or too large for 32 bits."""
    huge = (numbers.cast(pl.Float64).abs() > float(np.finfo(np.float32).max)).fill_null(False)
    huge &= ~numbers.cast(pl.Float64).is_nan().fill_null(False)  # polars orders NaN above every number
    if huge.any():
        at = int(huge.arg_true()[0])
        said = "is infinite" if np.isinf(numbers[at]) else f"is {numbers[at]:g}, beyond 32-bit floats"
        raise place.fault(at, said)


def read_categories(cells: pl.Series, place: Place) -> pl.Series:
    """One name a cell, as text; null where missing. A whole number is written without a fraction.

    Raises:
        DataError: a text above MAX_TEXT bytes, or a type that can't be names.
    """
    kind = family(cells.dtype)
    if kind == "number":
        numbers = cells.cast(pl.Float64).fill_nan(None)
        whole = numbers.cast(pl.Int64, strict=False)
        same = (whole.cast(pl.Float64) == numbers).fill_null(False)
        return pl.select(pl.when(same).then(whole.cast(pl.String)).otherwise(numbers.cast(pl.String))).to_series()
    if kind in ("set", "vector", "other"):
        raise place.wrong_type("category or text", cells.dtype)
    text = cells.cast(pl.String)
    text = text.set(text == "", None)
    check_texts(text, place)
    return text


def check_texts(texts: pl.Series, place: Place) -> None:
    """Raise DataError for the first text above MAX_TEXT bytes."""
    sizes = texts.str.len_bytes()
    largest = sizes.max()
    if isinstance(largest, int) and largest > MAX_TEXT:
        at = int((sizes > MAX_TEXT).fill_null(False).arg_true()[0])
        raise place.fault(
            at, f"is a text of {sizes[at]:,} bytes, and a text may have {MAX_TEXT:,}", "shorten it before preparing"
        )


def read_sets(cells: pl.Series, place: Place, separator: str | None = None) -> pl.Series:
    """Names of each set, List(String), each once and in byte order; null where missing or empty.

    Args:
        separator: between the names of a text; found when None: `[a, b]` as JSON or Python write it, `a|b`, `a`.
    """
    kind = family(cells.dtype)
    quoted = pl.repeat(False, cells.len(), dtype=pl.Boolean, eager=True)
    if kind == "text":
        text = cells.cast(pl.String)
        check_texts(text, place)
        if separator is None:
            quoted = (text.str.starts_with("[") & text.str.ends_with("]")).fill_null(False)
        lists = text.str.split(separator or "|")
        if quoted.any():
            members = text.str.extract_all(_MEMBERS)
            lists = pl.select(pl.when(quoted).then(members).otherwise(lists)).to_series()
    elif kind == "set":
        lists = cells.cast(pl.List(pl.String))
    elif kind == "empty":
        return cells.cast(pl.List(pl.String))
    else:
        raise place.wrong_type("set of categories", cells.dtype)
    return _sets(lists, quoted)


def _sets(lists: pl.Series, quoted: pl.Series) -> pl.Series:
    """Lists as sets in order, by one long table: far faster than list by list. Quotes come off where `quoted`."""
    frame = pl.DataFrame({"row": pl.Series(range(lists.len()), dtype=pl.UInt32), "name": lists, "quoted": quoted})
    name = pl.when("quoted").then(pl.col("name").str.strip_chars("\"' ")).otherwise(pl.col("name").str.strip_chars())
    members = frame.explode("name", empty_as_null=True).select("row", name.alias("name"))
    members = members.filter(pl.col("name") != "").unique().sort("row", "name")
    sets = members.group_by("row", maintain_order=True).agg("name")
    return frame.select("row").join(sets, on="row", how="left", maintain_order="left")["name"]


def are_lists(texts: pl.Series) -> bool:
    """Whether all texts are lists as JSON and Python write them: `[...]`."""
    return bool((texts.str.starts_with("[") & texts.str.ends_with("]")).all())


def are_numbers(lists: pl.Series) -> tuple[bool, bool]:
    """Of texts that are lists: whether all hold numbers alone, and whether one of those has a fraction."""
    return bool(lists.str.contains(_NUMBERS).all()), bool(lists.str.contains(_FRACTION).any())


def read_vectors(cells: pl.Series, place: Place, width: int | None = None) -> tuple[Floats, NDArray[np.bool_]]:
    """Vectors of one width: ((n, d) float32, zero where missing; (n,) bool, whether there is one).

    Args:
        width: d, where it is known from rows before; else that of the first vector (0 where there is none).

    Raises:
        DataError: vectors of different widths, a number in one that is missing, NaN or infinite, or a text that
            holds no numbers.
    """
    lists = _lists(cells, place)
    there = lists.is_not_null().to_numpy()
    known = lists.filter(lists.is_not_null())
    widths = known.list.len().to_numpy()
    if width is None:
        width = int(widths[0]) if len(widths) else 0
    rows = np.flatnonzero(there)
    ragged = np.flatnonzero((widths != width) | (widths == 0))
    if len(ragged):
        at = ragged[0]
        raise place.fault(
            int(rows[at]), f"holds a vector of {widths[at]} numbers, and those before have {width}", "make them equal"
        )
    flat = known.explode(empty_as_null=False).cast(pl.Float64)
    wrong = (flat.is_null() | ~flat.is_finite()).fill_null(True)
    if wrong.any():
        at = int(wrong.arg_true()[0])
        said = "nothing" if flat[at] is None else "NaN" if np.isnan(flat[at]) else "an infinite number"
        raise place.fault(
            int(rows[at // width]),
            f"holds a vector with {said} at place {at % width + 1} of {width}",
            "mend it, or leave the cell empty for a missing vector",
        )
    vectors = np.zeros((len(cells), width), dtype=np.float32)
    vectors[there] = flat.to_numpy().reshape(len(rows), width)
    return vectors, there


def _lists(cells: pl.Series, place: Place) -> pl.Series:
    kind = family(cells.dtype)
    if kind in ("vector", "set") and cells.dtype != pl.List(pl.String):
        return cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
    if kind == "empty":
        return cells.cast(pl.List(pl.Float64))
    if kind != "text":
        raise place.wrong_type("vector", cells.dtype)
    text = cells.cast(pl.String).str.strip_chars(" []()")
    text = text.set(text.is_in(MISSING), None)
    words = text.str.extract_all(r"[^\s,;|]+")
    numbers = words.cast(pl.List(pl.Float64), strict=False)
    wrong = (numbers.list.drop_nulls().list.len() < words.list.len()).fill_null(False)
    if wrong.any():
        at = int(wrong.arg_true()[0])
        raise place.mismatch(at, "vector", cells[at])
    return numbers
