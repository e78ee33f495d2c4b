"""From scanned codes to the final event arrays: ids numbered in byte order, events sorted, filters applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.arrange import Arranged, Duplicates, Groups, arrange, buckets
from onward.data.columns import Columns, ColumnWriter, open_columns
from onward.data.features.used import used_values
from onward.data.filters import keep_mask, renumber
from onward.data.ingest import Progress, Scan
from onward.data.times import describe
from onward.errors import DataError

DTYPES = {"item": "<i4", "time": "<i8", "action": "u1", "value": "<f4", "group": "<i4"}
_SLICE = 4_000_000


@dataclass(frozen=True)
class Rules:
    """How events are treated.

    Attributes:
        groups: none, "basket" (events of one basket) or "ties" (events of one user at one time).
        filters: min_user_events, min_item_events, min_length, those above 1.
    """

    duplicates: Duplicates
    groups: Groups
    filters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ordered:
    """The events in their final place, and what was counted on the way.

    Attributes:
        columns: memory-mapped final arrays.
        offsets: (U + 1,) int64.
        users, items: ids, in index order.
        actions: names of the action codes.
        unsorted_rows: rows that came right after a later one of the same user; None without times.
        duplicate_rows: duplicates found.
        filtered: events that the filters left out.
        values: coded event feature -> what its codes mean.
    """

    columns: Columns
    offsets: NDArray[np.int64]
    users: pl.Series
    items: pl.Series
    actions: list[str]
    unsorted_rows: int | None
    duplicate_rows: int
    filtered: int
    values: dict[str, pl.Series]


def order_events(scanned: Scan, rules: Rules, target: Path, work: Path, progress: Progress) -> Ordered:
    """Write the final event arrays and offsets into `target`.

    Raises:
        DataError: duplicates where they are an error, more than 256 actions, or filters that leave nothing.
    """
    users, user_rank = scanned.ids["user"].ranked()
    items, item_rank = scanned.ids["item"].ranked()
    actions, action_rank = _actions(scanned)
    kept = [name for name in open_columns(scanned.folder) if name not in ("user", "group")]
    kept += ["group"] if rules.groups != "none" else []
    place = work / "arranged" if rules.filters else target
    features = {feature.column: feature for feature in scanned.features}
    final = DTYPES | {name: feature.stored for name, feature in features.items()}
    dtypes = {**{name: final[name] for name in kept}, **({"user": "<i4"} if rules.filters else {})}
    counts = np.zeros(len(users), dtype=np.int64)
    unsorted: int | None = None
    duplicates = done = 0
    progress("sorting", 0, scanned.used)
    with ColumnWriter(place, dtypes) as writer:
        for events in buckets(scanned.folder, user_rank, item_rank, work):
            if action_rank is not None:
                events["action"] = action_rank[events["action"]]
            arranged = arrange(events, rules.groups, rules.duplicates)
            if rules.duplicates == "error" and arranged.example is not None:
                raise _duplicate_error(arranged, users, items)
            arranged.columns["item"] = arranged.columns["item"] + 1
            arranged.columns.update({name: one.final(arranged.columns[name]) for name, one in features.items()})
            writer.append({name: arranged.columns[name] for name in dtypes})
            counts += np.bincount(arranged.columns["user"], minlength=len(users))
            duplicates += arranged.duplicate_rows
            if arranged.unsorted_rows is not None:
                unsorted = (unsorted or 0) + arranged.unsorted_rows
            done += len(events["user"])
            progress("sorting", done, scanned.used)
    filtered = 0
    if rules.filters:
        filtered, users, items, counts = _filter(
            place, target, rules.filters, users, items, {name: final[name] for name in kept}
        )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    with ColumnWriter(target, {"offsets": "<i8"}) as writer:
        writer.append({"offsets": offsets})
    values = used_values(target, scanned.features)
    columns = {name: column for name, column in open_columns(target).items() if name != "offsets"}
    return Ordered(columns, offsets, users, items, actions, unsorted, duplicates, filtered, values)


def _actions(scanned: Scan) -> tuple[list[str], NDArray[np.uint8] | None]:
    if "action" not in scanned.ids:
        return [], None
    names, rank = scanned.ids["action"].ranked()
    if len(names) > 256:
        some = ", ".join(map(repr, names.head(3).to_list()))
        raise DataError(
            f"the action column has {len(names):,} different values ({some}...), and actions are at most 256 kinds",
            "is it the right column? name another with --action COLUMN, or none with --action none",
        )
    return names.to_list(), rank.astype(np.uint8)


def _duplicate_error(arranged: Arranged, users: pl.Series, items: pl.Series) -> DataError:
    assert arranged.example is not None
    user, item, time = arranged.example
    return DataError(
        f"duplicate rows: user '{users[user]}' has item '{items[item]}' more than once at {describe(time)} UTC"
        + (f", and there are {arranged.duplicate_rows - 1:,} more such rows" if arranged.duplicate_rows > 1 else ""),
        "keep them all, or one of each: --duplicates keep, first or last",
    )


def _filter(
    source: Path, target: Path, filters: dict[str, int], users: pl.Series, items: pl.Series, kept: dict[str, str]
) -> tuple[int, pl.Series, pl.Series, NDArray[np.int64]]:
    """Copy the events that stay, with users and items renumbered; (events left out, users, items, events a user)."""
    columns = open_columns(source)
    user, item = np.array(columns["user"]), np.array(columns["item"]) - 1
    limits = [filters.get(name, 1) for name in ("min_user_events", "min_item_events", "min_length")]
    mask = keep_mask(user, item, *limits)
    old_users, _ = renumber(user[mask], len(users))
    old_items, new_item = renumber(item[mask], len(items))
    counts = np.bincount(user[mask], minlength=len(users))[old_users].astype(np.int64)
    with ColumnWriter(target, kept) as writer:
        for first in range(0, len(mask), _SLICE):
            rows = slice(first, first + _SLICE)
            some = {name: columns[name][rows][mask[rows]] for name in kept}
            some["item"] = new_item[some["item"] - 1] + 1
            writer.append(some)
    return int((~mask).sum()), users.gather(old_users), items.gather(old_items), counts
