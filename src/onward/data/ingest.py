"""First pass of preparing: tables in, flat columns of codes out, and the rows that can't be used set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.columns import Columns, ColumnWriter
from onward.data.readers import Source
from onward.data.schema import check_column, check_id_type, check_value_type, first_reasons, read_ids, read_values
from onward.data.times import Times
from onward.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with (what, done, in all; None where unknown)."""

NO_GROUP = np.uint32(2**32 - 1)
"""Code of a missing basket: the event is a group of its own."""
DTYPES = {"user": "u4", "item": "u4", "time": "i8", "action": "u4", "value": "f4", "group": "u4"}
BLANK = "blank row"
"""Reason of a text file's empty line: kept with the rejected rows, but it counts neither as a row nor as a fault."""
REJECTED = {"file": pl.String, "row": pl.Int64, "reason": pl.String, "value": pl.String}


class Ids:
    """Texts -> codes 0, 1, 2... in no particular order; polars' categories hold the texts, once each."""

    def __init__(self) -> None:
        self._dtype = pl.Categorical(pl.Categories.random())
        self._kept = pl.Series([], dtype=self._dtype)  # without a series of theirs polars forgets them
        self._size = 0

    def codes(self, texts: pl.Series) -> NDArray[np.uint32]:
        """(n,) uint32 code of each text; NO_GROUP for a missing one."""
        codes = texts.cast(self._dtype).to_physical()
        largest = codes.max()
        if isinstance(largest, int):
            self._size = max(self._size, largest + 1)
        return codes.fill_null(NO_GROUP).to_numpy()

    def ranked(self) -> tuple[pl.Series, NDArray[np.int32]]:
        """The texts in byte order, and the (n,) int32 rank of each code."""
        codes = pl.Series(np.arange(self._size, dtype=np.uint32))
        texts = codes.cat.to(self._dtype).cast(pl.String)
        order = texts.arg_sort(nulls_last=True).head(self._size - texts.null_count()).to_numpy()
        rank = np.full(self._size, -1, dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return texts.gather(order), rank


@dataclass
class Scan:
    """What the first pass found.

    Attributes:
        folder: flat columns in input order, codes for ids.
        ids: role -> its ids.
        times: what was seen of the time column, or None without one.
        rows, used: rows read, and those that can be used.
        rejected: frame of file, row, reason, value (what stood there).
    """

    folder: Path
    ids: dict[str, Ids]
    times: Times | None
    rows: int = 0
    used: int = 0
    rejected: list[pl.DataFrame] = field(default_factory=list)


def scan(
    sources: Sequence[Source], roles: Mapping[str, str], time_unit: str | None, folder: Path, progress: Progress
) -> Scan:
    """Read all tables once.

    Args:
        roles: role -> column, the same in every table.
        folder: where the flat columns go: user, item (uint32 codes), time (int64 microseconds), action, group
            (uint32 codes), value (float32), as the roles have them.

    Raises:
        DataError: a table can't be read, lacks a column or has one of the wrong type.
    """
    for source in sources:
        _check_types(source, roles)
    done = Scan(
        folder,
        {role: Ids() for role in roles if role not in ("time", "value")},
        Times(time_unit) if "time" in roles else None,
    )
    with ColumnWriter(folder, {role: DTYPES[role] for role in roles}) as writer:
        for source in sources:
            for columns in _chunks(source, roles, done):
                writer.append(columns)
                progress("reading", done.rows, None)
    done.used = writer.length
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


def _chunks(source: Source, roles: Mapping[str, str], done: Scan) -> Iterator[Columns]:
    for first_row, chunk in source.read(list(dict.fromkeys(roles.values()))):
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
                blank = chunk.select(pl.all_horizontal(pl.all().is_null())).to_series()
                reason = pl.select(pl.when(blank).then(pl.lit(BLANK)).otherwise(reason)).to_series()
            done.rejected.append(_rejected(source.name, first_row, chunk, roles, bad, reason))
            good = reason.is_null()
            read = {role: values.filter(good) for role, values in read.items()}
        yield {
            role: done.ids[role].codes(values) if role in done.ids else values.to_numpy()
            for role, values in read.items()
        }


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
