"""Item and user tables: read, typed, checked and put in the order of the index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from onward.data.readers import Source
from onward.data.schema import check_column, check_id_type, read_ids, usual_column
from onward.errors import DataError

SETS = ("genre", "genres", "class", "category", "categories", "tag", "tags", "style", "styles")
"""Columns whose text may hold several names: `A|B`, or `A B` in RecBole's token_seq."""
TEXTS = ("title", "name", "description", "text", "url", "summary")
_WHOLE = r"^-?(0|[1-9]\d{0,17})$"
_NUMBER = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Joined:
    """A table joined to the ids of the log.

    Attributes:
        frame: column `item` or `user` first, one row an id, in index order; nulls where the table has no row.
        kinds: feature column -> number, text, category, categories, time or vector.
        notes: sentences about rows that found no partner.
        rejected: rows without an id, as in rejected.parquet.
    """

    frame: pl.DataFrame
    kinds: dict[str, str]
    notes: list[str]
    rejected: list[pl.DataFrame]


def join_table(sources: Sequence[Source], role: str, ids: pl.Series, given: str | None) -> Joined:
    """Read the tables of one role and give every id of the log its row.

    Args:
        role: "item" or "user".
        ids: the log's ids, in index order.
        given: name of the log's id column; the table's own column of that name, or else one of the usual names.

    Raises:
        DataError: no id column, two rows of one id that disagree, or a feature named like the id.
    """
    frame = pl.DataFrame({role: ids})
    notes: list[str] = []
    rejected: list[pl.DataFrame] = []
    for source in sources:
        table, bad = _read(source, role, given)
        rejected += bad
        twice = [name for name in table.columns[1:] if name in frame.columns]
        if twice:
            raise DataError(f"{source.name}: column '{twice[0]}' comes twice among the {role} features")
        unknown = table.join(frame, on=role, how="anti").height
        missing = frame.join(table, on=role, how="anti").height
        frame = frame.join(table, on=role, how="left", maintain_order="left")
        if unknown:
            notes.append(f"{unknown:,} {role}s of {source.name} have no events and are left out")
        if missing:
            notes.append(f"{missing:,} {role}s with events have no row in {source.name}; their features are missing")
    kinds = {series.name: _kind(series) for series in frame.iter_columns() if series.name != role}
    return Joined(frame, kinds, notes, rejected)


def _read(source: Source, role: str, given: str | None) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    column = given if given in source.columns else usual_column(role, source.columns)
    if column is None and "id" in source.columns:
        column = "id"
    if column is None:
        raise DataError(
            f"{source.name}: no {role} column among {', '.join(map(repr, source.columns))}",
            f"name it like the log's {role} column",
        )
    check_column(column, source.columns, source.name)
    check_id_type(source.dtypes[column], column, source.name)
    table = source.table()
    ids, why = read_ids(table[column], role, source.untyped)
    bad = []
    if why is not None:
        rows = why.is_not_null().arg_true()
        values = ids.gather(rows)
        parts = {"file": [source.name] * rows.len(), "row": (rows + 1).cast(pl.Int64)}
        bad.append(pl.DataFrame({**parts, "reason": why.gather(rows), "value": values}))
    features = [_typed(series, source) for series in table.drop(column).iter_columns()]
    if any(series.name == role for series in features):
        raise DataError(f"{source.name}: the ids are in '{column}', and a feature is named '{role}' too")
    named = pl.DataFrame([ids.alias(role), *features])
    if why is not None:
        named = named.filter(why.is_null())
    return _one_row_an_id(named, role, source.name), bad


def _one_row_an_id(table: pl.DataFrame, role: str, where: str) -> pl.DataFrame:
    table = table.unique(maintain_order=True)
    again = table.filter(~pl.col(role).is_first_distinct())
    if not again.height:
        return table
    name = again[role][0]
    first, second = table.filter(pl.col(role) == name).head(2).rows(named=True)
    column = next(key for key in first if first[key] != second[key])
    raise DataError(
        f"{where}: {role} '{name}' has two rows that disagree: {column} is {first[column]!r} and {second[column]!r}"
        + (f"; so do {again.height - 1:,} further rows" if again.height > 1 else ""),
        "keep one row an id",
    )


def _typed(series: pl.Series, source: Source) -> pl.Series:
    """A feature as number, text, list or time. Texts of files without types are numbers only if all of them are."""
    dtype = series.dtype
    if dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if dtype.is_decimal() or dtype in (pl.Int128, pl.Float16):
        return series.cast(pl.Float64)
    if dtype in (pl.Struct, pl.Binary, pl.Object, pl.Array, pl.Duration, pl.Time):
        return series.cast(pl.String, strict=False) if dtype != pl.Array else series.arr.to_list()
    if dtype != pl.String or not source.untyped:
        return _split(series, "|") if dtype == pl.String else series
    series = series.set(series == "", None)
    declared = source.types.get(series.name)
    if declared == "float":
        numbers = series.cast(pl.Float64, strict=False)
        return numbers if numbers.null_count() == series.null_count() else series
    if declared == "float_seq":
        return series.str.split(" ").cast(pl.List(pl.Float64), strict=False)
    if declared == "token_seq":
        return _split(series, " ")
    return series if declared == "token" else _split(_number(series), "|")


def _number(series: pl.Series) -> pl.Series:
    values = series.drop_nulls()
    if not values.len():
        return series
    if values.str.contains(_WHOLE).all():
        return series.cast(pl.Int64)
    # a code such as 02139 must keep its zero
    if values.str.contains(_NUMBER).all() and not values.str.contains(r"^-?0\d").any():
        return series.cast(pl.Float64)
    return series


def _split(series: pl.Series, separator: str) -> pl.Series:
    if series.dtype != pl.String or _plain(series.name) not in SETS:
        return series
    if separator == "|" and not series.str.contains("|", literal=True).any():
        return series
    return series.str.split(separator).list.filter(pl.element() != "")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _kind(series: pl.Series) -> str:
    dtype = series.dtype
    if isinstance(dtype, pl.List):
        return "vector" if dtype.inner is not None and dtype.inner.is_float() else "categories"
    if dtype.is_temporal():
        return "time"
    if dtype.is_numeric():
        return "number"
    return "text" if any(word in series.name.lower() for word in TEXTS) else "category"
