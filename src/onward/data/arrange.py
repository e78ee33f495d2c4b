"""Second pass of preparing: the events of some users, put in order. A pure function a bucket of users.

A bucket is a range of the user index rather than a hash class of the user: its output is then one contiguous piece
of the final arrays, which are written by appending alone. Any number of workers can each take a bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.columns import Columns, ColumnWriter, open_columns, rows_of
from onward.data.dataset import FEATURE
from onward.data.features.codes import NO_CODE

BUCKET_EVENTS = 16_000_000
"""Events sorted at once, about; one user's events always together."""
_SLICE = 4_000_000

Duplicates = Literal["keep", "first", "last", "error"]
Groups = Literal["none", "basket", "ties"]


@dataclass(frozen=True)
class Arranged:
    """One bucket in order.

    Attributes:
        columns: sorted by user, then time (a group's first), then input row; `user` among them.
        unsorted_rows: rows that came right after a later one of the same user; None without times.
        duplicate_rows: rows that repeat another's user, item, time, action and group, beyond the first of each.
        example: user rank, item rank and time of one such row.
    """

    columns: Columns
    unsorted_rows: int | None
    duplicate_rows: int
    example: tuple[int, int, int] | None


def arrange(events: Columns, groups: Groups, duplicates: Duplicates) -> Arranged:
    """Sort the events of some users, number their groups, leave out duplicates where the policy says so.

    Args:
        events: flat columns in input order: user, item (int32), and time, action, value, group and features where
            there are.
    """
    order, unsorted_rows = _time_order(events)
    if groups == "basket":
        events, order = _by_basket(events)
    columns = {name: column[order] for name, column in events.items()}
    again = _duplicates(columns, keep_last=duplicates == "last")
    example = None
    if again.any():
        row = int(np.flatnonzero(again)[0])
        example = (int(columns["user"][row]), int(columns["item"][row]), int(columns["time"][row]))
        if duplicates in ("first", "last"):
            columns = {name: column[~again] for name, column in columns.items()}
    if groups != "none":
        columns["group"] = _number_groups(columns["user"], columns["group" if groups == "basket" else "time"])
    return Arranged(columns, unsorted_rows, int(again.sum()), example)


def _time_order(events: Columns) -> tuple[NDArray[np.int64], int | None]:
    """Stable order by user and time, and how many rows came right after a later one of the same user."""
    user, time = events["user"], events.get("time")
    order = np.argsort(user, kind="stable")
    if time is None:
        return order, None
    same_user = np.diff(user[order]) == 0
    backward = int((np.diff(time[order])[same_user] < 0).sum())
    return (np.lexsort((time, user)) if backward else order), backward


def _by_basket(events: Columns) -> tuple[Columns, NDArray[np.int64]]:
    """Baskets of one user by their first time, then by their first row; rows of one basket stay together.

    Returns the events, each with its basket's first time and with its basket's first row as `group`, and the order.
    """
    rows = np.arange(len(events["user"]))
    basket = events["group"].astype(np.int64)
    basket = np.where(basket == NO_CODE, int(NO_CODE) + 1 + rows, basket)  # without one: a basket of its own
    frame = pl.DataFrame({"user": events["user"], "basket": basket, "row": rows})
    events = {**events, "group": frame.select(pl.col("row").min().over("user", "basket"))["row"].to_numpy()}
    keys = [rows, events["group"]]
    if "time" in events:
        frame = frame.with_columns(time=pl.Series(events["time"]))
        events["time"] = frame.select(pl.col("time").min().over("user", "basket"))["time"].to_numpy()
        keys.append(events["time"])
    return events, np.lexsort([*keys, events["user"]])


def _number_groups(user: NDArray[np.int32], key: NDArray[np.int64]) -> NDArray[np.int32]:
    """(N,) int32, from 0 within each user: a new number wherever the key changes."""
    first = np.ones(len(user), dtype=np.bool_)
    first[1:] = np.diff(user) != 0
    new = first.copy()
    new[1:] |= np.diff(key) != 0
    number = np.cumsum(new) - 1
    lengths = np.diff(np.append(np.flatnonzero(first), len(user)))
    return np.asarray(number - np.repeat(number[first], lengths), dtype=np.int32)


def _duplicates(columns: Columns, keep_last: bool) -> NDArray[np.bool_]:
    """(N,) bool: rows to leave out so that one of each user, item, time, action and group stays.

    Without times a second event can't be told from a duplicate, so there are none.
    """
    again = np.zeros(len(columns["user"]), dtype=np.bool_)
    if "time" not in columns:
        return again
    same = (np.diff(columns["user"]) == 0) & (np.diff(columns["time"]) == 0)
    tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])  # only these can be duplicates
    where = np.flatnonzero(tied)
    names = [name for name in ("user", "item", "time", "action", "group") if name in columns]
    frame = pl.DataFrame({name: columns[name][where] for name in names})
    stays = frame.select(pl.struct(names).is_last_distinct() if keep_last else pl.struct(names).is_first_distinct())
    again[where] = ~stays.to_series().to_numpy()
    return again


def buckets(folder: Path, users: NDArray[np.int32], items: NDArray[np.int32], work: Path) -> Iterator[Columns]:
    """The scanned events bucket by bucket, users ascending: `user` and `item` are ranks from 0.

    Args:
        folder: flat columns of the scan, in input order.
        users, items: rank of each code.
        work: where buckets are kept when there are several.
    """
    scanned = open_columns(folder)
    extra = sum(name.startswith(FEATURE) for name in scanned)
    limit = max(1, BUCKET_EVENTS * 5 // (5 + extra))  # about the same memory, whatever the number of features
    counts = np.zeros(len(users), dtype=np.int64)
    for rows in _slices(len(scanned["user"])):
        counts += np.bincount(users[scanned["user"][rows]], minlength=len(users))
    bucket_of = ((np.cumsum(counts) - counts) // limit).astype(np.int32)  # by each user's first event
    names = np.unique(bucket_of)
    if len(names) == 1:
        yield _ranked(_loaded(scanned), users, items)
        return
    dtypes = {name: column.dtype for name, column in scanned.items()}
    with ExitStack() as stack:
        writers = [stack.enter_context(ColumnWriter(work / f"bucket-{name}", dtypes)) for name in names]
        for rows in _slices(len(scanned["user"])):
            some = rows_of(scanned, rows)
            bucket = bucket_of[users[some["user"]]]
            for name, writer in zip(names, writers, strict=True):
                mine = bucket == name
                writer.append({column: values[mine] for column, values in some.items()})
    for name in names:
        yield _ranked(_loaded(open_columns(work / f"bucket-{name}")), users, items)


def _loaded(columns: Columns) -> Columns:
    """All but the features in memory: those are only read once, in their final order."""
    core = {name: column for name, column in columns.items() if not name.startswith(FEATURE)}
    return columns | rows_of(core, slice(None))


def _ranked(columns: Columns, users: NDArray[np.int32], items: NDArray[np.int32]) -> Columns:
    return {**columns, "user": users[columns["user"]], "item": items[columns["item"]]}


def _slices(length: int) -> list[slice]:
    return [slice(first, min(first + _SLICE, length)) for first in range(0, length, _SLICE)]
