"""First pass of preparing: tables in, flat columns of codes out, and the rows that can't be used set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.columns import Columns, ColumnWriter
from onward.data.features.cells import Place
from onward.data.features.choose import Features
from onward.data.features.codes import Ids
from onward.data.features.events import EventFeature
from onward.data.readers import Source
from onward.data.schema import check_column, check_id_type, check_value_type, first_reasons, read_ids, read_values
from onward.data.times import Times
from onward.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with (what, done, in all; None where unknown)."""

DTYPES = {"user": "u4", "item": "u4", "time": "i8", "action": "u4", "value": "f4", "group": "u4"}
BLANK = "blank row"
"""Reason of a text file's empty line: kept with the rejected rows, but it counts neither as a row nor as a fault."""
REJECTED = {"file": pl.String, "row": pl.Int64, "reason": pl.String, "value": pl.String}


@dataclass
class Scan:
    """What the first pass found.

    Attributes:
        folder: flat columns in input order, codes for ids.
        ids: role -> its ids.
        features: features of the events, each with its column.
        times: what was seen of the time column, or None without one.
        rows, used: rows read, and those that can be used.
        rejected: frame of file, row, reason, value (what stood there).
    """

    folder: Path
    ids: dict[str, Ids]
    times: Times | None
    features: Sequence[EventFeature] = ()
    rows: int = 0
    used: int = 0
    rejected: list[pl.DataFrame] = field(default_factory=list)


def scan(
    sources: Sequence[Source],
    roles: Mapping[str, str],
    features: Features,
    time_unit: str | None,
    folder: Path,
    progress: Progress,
) -> Scan:
    """Read all tables once.

    Args:
        roles: role -> column, the same in every table.
        features: further columns to keep; a table that lacks one has no values in it.
        folder: where the flat columns go: user, item (uint32 codes), time (int64 microseconds), action, group
            (uint32 codes), value (float32), as the roles have them, and those of the features.

    Raises:
        DataError: a table can't be read, lacks a column or has one of the wrong type; a feature's cell can't be read.
    """
    for source in sources:
        _check_types(source, roles)
    done = Scan(
        folder,
        {role: Ids() for role in roles if role not in ("time", "value")},
        Times(time_unit) if "time" in roles else None,
        features.columns,
    )
    dtypes = {role: DTYPES[role] for role in roles} | {one.column: one.scanned for one in features.columns}
    with ColumnWriter(folder, dtypes) as writer:
        for source in sources:
            for columns in _chunks(source, roles, features, done):
                writer.append(columns)
                progress("reading", done.rows, None)
    done.used = writer.length
    for feature in features.columns:
        feature.finish()
    return done


def _check_types(source: Source, roles: Mapping[str, str]) -> None:
    for role, column in roles.items():
        check_column(column, source.columns, source.name)
        dtype = source.dtypes[column]
        if role == "value":
            check_value_type(dtype, column, source.name)
        elif role == "time":
            if not (dtype.is_numeric() or dtype in (pl.Datetime, pl.Date, pl.String, pl.Null)):
                raise DataError(
                    f"{source.name}: column '{column}' has type {dtype}, which can't be a time",
                    "times are dates, ISO texts or epoch numbers",
                )
        else:
            check_id_type(dtype, column, source.name)


def _chunks(source: Source, roles: Mapping[str, str], features: Features, done: Scan) -> Iterator[Columns]:
    role_columns = list(dict.fromkeys(roles.values()))
    wanted = list(dict.fromkeys(one.source for one in features.columns if one.source in source.dtypes))
    for first_row, chunk in source.read([*role_columns, *wanted]):
        done.rows += chunk.height
        read: dict[str, pl.Series] = {}
        bad: dict[str, pl.Series | None] = {}
        for role, column in roles.items():
            values = chunk[column]
            if role == "time":
                assert done.times is not None
                read[role], bad[role] = done.times.read(values, source.name, first_row)
            elif role == "value":
                read[role], bad[role] = read_values(values)
            elif role == "group":
                read[role], bad[role] = values.cast(pl.String), None
            else:
                read[role], bad[role] = read_ids(values, role, source.untyped)
        reason = first_reasons(list(bad.values()))
        if reason is not None:
            if source.untyped:
                blank = chunk.select(pl.all_horizontal(pl.col(role_columns).is_null())).to_series()
                reason = pl.select(pl.when(blank).then(pl.lit(BLANK)).otherwise(reason)).to_series()
            done.rejected.append(_rejected(source.name, first_row, chunk, roles, bad, reason))
            good = reason.is_null()
            read = {role: values.filter(good) for role, values in read.items()}
            rows: int | NDArray[np.int64] = good.arg_true().cast(pl.Int64).to_numpy() + first_row
            chunk = chunk.filter(good)
        else:
            rows = first_row
        yield {
            role: done.ids[role].codes(values) if role in done.ids else values.to_numpy()
            for role, values in read.items()
        } | _read_features(source, chunk, rows, features)


def _read_features(source: Source, chunk: pl.DataFrame, rows: int | NDArray[np.int64], features: Features) -> Columns:
    read: Columns = {}
    for feature in features.columns:
        name = feature.source
        cells = chunk[name] if name in chunk.columns else pl.Series([None] * chunk.height, dtype=pl.Null)
        place = Place(source.name, "events", name, rows, features.said_by(name))
        read[feature.column] = feature.read(cells, place, source.types.get(name))
    return read


def _rejected(
    name: str,
    first_row: int,
    chunk: pl.DataFrame,
    roles: Mapping[str, str],
    bad: Mapping[str, pl.Series | None],
    reason: pl.Series,
) -> pl.DataFrame:
    rows = reason.is_not_null().arg_true()
    found = pl.Series([None] * rows.len(), dtype=pl.String)
    for role in reversed(list(roles)):  # the first role's reason is the one that is told
        marks = bad[role]
        if marks is not None:
            values = chunk[roles[role]].gather(rows).cast(pl.String, strict=False)
            found = pl.select(pl.when(marks.gather(rows).is_not_null()).then(values).otherwise(found)).to_series()
    columns = {"file": [name] * rows.len(), "row": rows + first_row, "reason": reason.gather(rows), "value": found}
    return pl.DataFrame(columns, schema=REJECTED)


def rejected_frame(done: Scan) -> pl.DataFrame:
    """All rejected rows, in input order."""
    return pl.concat([pl.DataFrame(schema=REJECTED), *done.rejected])


def check_rejected(done: Scan, allow: bool) -> None:
    """Raise DataError when more than 1% of the rows can't be used (unless allowed), or none can."""
    frame = rejected_frame(done).filter(pl.col("reason") != BLANK)
    rejected = frame.height
    rows = done.used + rejected
    if not rows:
        raise DataError("the input has no rows", "it holds a header at most")
    if done.used and (allow or rejected <= 0.01 * rows):
        return
    commonest = frame["reason"].value_counts(sort=True).sort("count", "reason", descending=[True, False]).head(3)
    said = "; ".join(f"{count:,} × {reason} ({_places(frame, reason)})" for reason, count in commonest.iter_rows())
    hint = (
        "mend the input, or leave these rows out with --allow-rejected"
        if done.used
        else "are the right columns named? --user, --item, --time"
    )
    if frame["reason"].str.contains("is a float").any():
        hint += "; 42.0 is a whole number that something upstream turned into a float: write ids as integers"
    if frame["reason"].str.contains("time").any():
        hint += "; times are ISO texts (2024-05-31 or 2024-05-31T12:00:00Z) or epoch numbers"
    raise DataError(f"{rejected:,} of {rows:,} rows ({rejected / rows:.1%}) can't be used: {said}", hint)


def _places(frame: pl.DataFrame, reason: str) -> str:
    some = frame.filter(pl.col("reason") == reason).head(2)
    return ", ".join(
        f"{name} row {row}" + (f": '{value}'" if value else "")
        for name, row, value in some.select("file", "row", "value").iter_rows()
    )
