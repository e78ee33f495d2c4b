"""Item and user tables: read, typed, checked and put in the order of the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from onward.data.features.cells import MISSING, Place, are_lists, are_numbers, read_sets, read_vectors
from onward.data.features.declared import Declared, check_declared
from onward.data.features.infer import Inferred, infer
from onward.data.features.kinds import SETS, Owner, plain
from onward.data.features.survey import Survey
from onward.data.features.typed import as_kind, check_cells, vectors_of
from onward.data.readers import Source
from onward.data.schema import check_column, check_id_type, read_ids, some, usual_column
from onward.errors import DataError

ROW = "\0row"
"""Column of row numbers, from 1, while a table is read; no table has one of this name."""
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

    def with_vectors(self, columns: Sequence[pl.Series], notes: Sequence[str]) -> Joined:
        """The same with further columns, all vectors. Raises DataError for a name that is taken."""
        taken = [column.name for column in columns if column.name in self.frame.columns]
        if taken:
            raise DataError(f"--item-vectors: the item tables have a column '{taken[0]}' too", "choose another name")
        kinds = self.kinds | {column.name: "vector" for column in columns}
        return Joined(self.frame.with_columns(columns), kinds, [*self.notes, *notes], self.rejected)


@dataclass(frozen=True)
class Tables:
    """Both tables of a dataset."""

    items: Joined
    users: Joined


def join_table(
    sources: Sequence[Source], role: str, ids: pl.Series, given: str | None, said: Mapping[str, Declared], file: str
) -> Joined:
    """Read the tables of one role and give every id of the log its row.

    Args:
        role: "item" or "user".
        ids: the log's ids, in index order.
        given: name of the log's id column; the table's own column of that name, or else one of the usual names.
        said: what features.toml says of their columns, and `file`, its name.

    Raises:
        DataError: no id column, no id that the log has, two rows of one id that disagree, a feature named like the id,
            a cell that can't be a feature.
        ConfigError: a declared column that isn't there.
    """
    frame = pl.DataFrame({role: ids})
    notes: list[str] = []
    rejected: list[pl.DataFrame] = []
    owner: Owner = "items" if role == "item" else "users"
    for source in sources:
        table, bad = _read(source, role, given, owner, said, file)
        rejected += bad
        twice = [name for name in table.columns[2:] if name in frame.columns]
        if twice:
            raise DataError(f"{source.name}: column '{twice[0]}' comes twice among the {role} features")
        notes += _partners(table, frame, role, source.name)
        frame = frame.join(table.drop(ROW), on=role, how="left", maintain_order="left")
    check_declared(said, owner, frame.columns[1:], file)
    kinds = {}
    for series in frame.iter_columns():
        its = said.get(series.name, Declared())
        if series.name == role or not its.use:
            continue
        if its.kind is not None:
            kinds[series.name] = str(its.kind)
            continue
        found = _infer(series, owner)
        if found.kind is not None:
            kinds[series.name] = found.kind
        elif series.null_count() < series.len():
            notes.append(f"column '{series.name}' of the {owner} is no feature: {found.why_not}; it is still shown")
    return Joined(frame, kinds, notes, rejected)


def _infer(series: pl.Series, owner: Owner) -> Inferred:
    seen = Survey(series.dtype)
    seen.add(series, untyped=False)
    return infer(series.name, seen, owner)


def _partners(table: pl.DataFrame, frame: pl.DataFrame, role: str, where: str) -> list[str]:
    """What to say of rows without an id of the log, and the other way round."""
    unknown = table.join(frame, on=role, how="anti", maintain_order="left")
    missing = frame.join(table, on=role, how="anti").height
    if table.height and unknown.height == table.height:
        raise DataError(
            f"{where}: none of the {table.height:,} {role}s has events: row {table[ROW][0]} is '{table[role][0]}', "
            f"and the log's first {role} is '{frame[role][0]}'",
            f"is its {role} column the one that the log names?",
        )
    notes = []
    if unknown.height:
        example = f"the first, '{unknown[role][0]}', in row {unknown[ROW][0]:,}"
        notes.append(f"{unknown.height:,} {role}s of {where} have no events and are left out ({example})")
    if missing:
        notes.append(f"{missing:,} {role}s with events have no row in {where}; their features are missing")
    return notes


def _read(
    source: Source, role: str, given: str | None, owner: Owner, said: Mapping[str, Declared], file: str
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    column = given if given in source.columns else usual_column(role, source.columns)
    if column is None and "id" in source.columns:
        column = "id"
    if column is None:
        raise DataError(
            f"{source.name}: no {role} column among {some(source.columns)}",
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
    features = [_feature(series, source, owner, said, file) for series in table.drop(column).iter_columns()]
    if any(series.name == role for series in features):
        raise DataError(f"{source.name}: the ids are in '{column}', and a feature is named '{role}' too")
    named = pl.DataFrame([ids.alias(role), *features]).with_row_index(ROW, 1).select(role, pl.exclude(role))
    if why is not None:
        named = named.filter(why.is_null())
    return _one_row_an_id(named, role, source.name), bad


def _feature(series: pl.Series, source: Source, owner: Owner, said: Mapping[str, Declared], file: str) -> pl.Series:
    """One column of the table, checked: as its declared kind, or as what it looks like."""
    name = series.name
    its = said.get(name, Declared())
    place = Place(source.name, owner, name, 1, file if its.kind is not None else None)
    if not its.use:
        return _typed(series, source, place)
    if its.kind is not None:
        return as_kind(series, its.kind, place, source.types.get(name)).alias(name)
    return check_cells(_typed(series, source, place), place)


def _one_row_an_id(table: pl.DataFrame, role: str, where: str) -> pl.DataFrame:
    table = table.unique(pl.exclude(ROW), keep="first", maintain_order=True)
    again = table.filter(~pl.col(role).is_first_distinct())
    if not again.height:
        return table
    name = again[role][0]
    first, second = table.filter(pl.col(role) == name).head(2).rows(named=True)
    column = next(key for key in first if key != ROW and first[key] != second[key])
    raise DataError(
        f"{where}: {role} '{name}' has two rows that disagree: column '{column}' is {first[column]!r} in row "
        f"{first[ROW]} and {second[column]!r} in row {second[ROW]}"
        + (f"; so do {again.height - 1:,} further rows" if again.height > 1 else ""),
        "keep one row an id",
    )


def _typed(series: pl.Series, source: Source, place: Place) -> pl.Series:
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
    if declared == "token":
        return series
    known = series.drop_nulls()
    return _listed(series, place) if known.len() and are_lists(known) else _split(_number(series), "|")


def _listed(series: pl.Series, place: Place) -> pl.Series:
    """`[a, b]` as JSON and Python write it: numbers with fractions are a vector, anything else names."""
    if are_numbers(series.drop_nulls()) == (True, True):
        return vectors_of(*read_vectors(series, place)).alias(series.name)
    return read_sets(series, place).alias(series.name)


def _number(series: pl.Series) -> pl.Series:
    filled = series.set(series.is_in(MISSING), None)
    values = filled.drop_nulls()
    if not values.len():
        return series
    if values.str.contains(_WHOLE).all():
        return filled.cast(pl.Int64)
    # a code such as 02139 must keep its zero
    if values.str.contains(_NUMBER).all() and not values.str.contains(r"^-?0\d").any():
        return filled.cast(pl.Float64)
    return series


def _split(series: pl.Series, separator: str) -> pl.Series:
    if series.dtype != pl.String or plain(series.name) not in SETS:
        return series
    if separator == "|" and not series.str.contains("|", literal=True).any():
        return series
    return series.str.split(separator).list.filter(pl.element() != "")
