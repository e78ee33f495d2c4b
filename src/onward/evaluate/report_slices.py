"""Slices that need the dataset: time since the last event, what training knew of user and item, groups of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from onward.data.sequences import Ints
from onward.evaluate import report_parts as parts
from onward.evaluate import report_verdict as verdict
from onward.evaluate.bootstrap import intervals
from onward.evaluate.compare import Comparison
from onward.evaluate.report_requests import Asked
from onward.evaluate.slices import slice_block

SECOND = 1_000_000
GAPS = (
    (0, "same moment"),
    (60, "up to a minute"),
    (3600, "up to an hour"),
    (86_400, "up to a day"),
    (7 * 86_400, "up to a week"),
    (30 * 86_400, "up to a month"),
)
"""Longest gap of each bucket, seconds, and its label."""
KNOWN = ("known user and item", "new user", "new item", "new user and item")
GROUPS = 7
"""Values of a user feature that are shown apart; the others are one bucket."""
FEATURES = 6
"""User features that are shown at most."""
COVERED = 0.5
"""Share of the users with a value that those shown apart must hold: a postal code says nothing here."""


@dataclass(frozen=True)
class Grouping:
    """One way to divide the requests.

    Attributes:
        bucket: (R,) int64 of each request, an index into `labels`.
    """

    key: str
    title: str
    column: str
    hint: str
    bucket: Ints
    labels: list[str]


def groupings(asked: Asked) -> list[Grouping]:
    """Those that this data has, each with two buckets or more."""
    found = [_known(asked), _gaps(asked), *_user_groups(asked)]
    return [one for one in found if one is not None and len(np.unique(one.bucket)) > 1]


def slices(comparison: Comparison, found: Sequence[Grouping]) -> list[dict[str, Any]]:
    """The metric that orders the rows by bucket, every model in each, as `report_parts.slices` gives it."""
    metric, rows = comparison.metric, comparison.rows
    if not found or metric not in rows[0].evaluation.table.columns:
        return []
    user = rows[0].evaluation.table["user"].rank("dense").to_numpy().astype(np.int64) - 1
    values = np.stack([row.evaluation.table[metric].to_numpy() for row in rows], axis=1)
    seed = int(str(comparison.protocol.get("intervals", "0")).rpartition(" ")[2])
    made = []
    for one in found:
        (estimates,) = intervals([slice_block(user, values, one.bucket)], seed)
        buckets = []
        for place, number in enumerate(np.unique(one.bucket).tolist()):
            mine = estimates[place * len(rows) : (place + 1) * len(rows)]
            inside = one.bucket == number
            buckets.append(
                {
                    "label": one.labels[number],
                    "requests": int(inside.sum()),
                    "users": len(np.unique(user[inside])),
                    "estimates": [estimate.model_dump() for estimate in mine],
                    "best": verdict.best(mine, metric),
                }
            )
        made.append(
            {"key": one.key, "title": one.title, "column": one.column, "hint": one.hint, "buckets": buckets}
            | {"winners": parts.winners(rows, buckets)}
        )
    return made


def _known(asked: Asked) -> Grouping:
    data, part, divided = asked.data, asked.part, asked.split
    new_user = divided.train_end[part.user] == data.start[part.user]
    trained = divided.training(data).item_counts() > 0
    row, position = part.targets(data)
    known = np.zeros(len(part), dtype=np.bool_)
    known[row[trained[data.item[position]]]] = True
    return Grouping(
        "known",
        "by what training knew",
        "Training knew",
        "New users have no event in training; new items have none either, so most models can't list them at all.",
        new_user + 2 * ~known,
        list(KNOWN),
    )


def _gaps(asked: Asked) -> Grouping | None:
    data, part = asked.data, asked.part
    if data.time is None:
        return None
    some = part.history_end > part.history_start
    gap = data.time[part.target_start] - data.time[np.maximum(part.history_end - 1, 0)]
    bucket = 1 + np.searchsorted([limit * SECOND for limit, _ in GAPS], gap, side="left")
    return Grouping(
        "gap",
        "by time since the last event",
        "Since the last event",
        "How long before the target the user's last known event was.",
        np.where(some, bucket, 0).astype(np.int64),
        ["no history", *(label for _, label in GAPS), "longer"],
    )


def _user_groups(asked: Asked) -> list[Grouping]:
    found: list[Grouping] = []
    for name, kind in asked.dataset.manifest.user_features.items():
        if len(found) == FEATURES or kind not in ("category", "number"):
            continue
        column = asked.dataset.users[name].gather(asked.part.user)
        every = asked.dataset.users[name]
        made = _bands(column) if kind == "number" or _counts_up(every) else _values(column, every)
        if made is not None:
            title = f"by the user's {name.replace('_', ' ')}"
            hint = "Groups of users by what is known of them. Small groups have wide intervals."
            found.append(Grouping(f"user-{len(found)}", title, name.replace("_", " ").capitalize(), hint, *made))
    return found


def _counts_up(every: pl.Series) -> bool:
    """Whether a category is a number in truth, such as an age, with more values than are shown apart."""
    present = every.drop_nulls()
    if present.dtype.is_numeric():
        return present.n_unique() > GROUPS
    numbers = present.cast(pl.String).str.strip_chars().str.len_chars().max()
    short = isinstance(numbers, int) and numbers <= 4  # longer ones are codes: postal codes, ids
    return short and present.n_unique() > GROUPS and present.cast(pl.Float64, strict=False).null_count() == 0


def _bands(column: pl.Series) -> tuple[Ints, list[str]] | None:
    """Quarters of the requests by a number."""
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    present = numbers.drop_nulls().to_numpy()
    if not len(present):
        return None
    cuts = np.unique(np.quantile(present, [0.25, 0.5, 0.75], method="inverted_cdf"))
    bucket = np.searchsorted(cuts, numbers.fill_null(present[0]).to_numpy(), side="left")
    ends = [present.min(), *cuts, present.max()]
    labels = [
        f"{low:g}–{high:g}" if i == 0 else f"above {low:g}, to {high:g}" for i, (low, high) in enumerate(pairwise(ends))
    ]
    bucket = np.where(numbers.is_null().to_numpy(), len(labels), bucket)
    return bucket.astype(np.int64), [*labels, "missing"]


def _values(column: pl.Series, every: pl.Series) -> tuple[Ints, list[str]] | None:
    """The values of most users, and all others together; `every` holds those of all users, not of the requests."""
    text = column.cast(pl.String)
    counts = every.cast(pl.String).drop_nulls().value_counts(sort=True)
    top = sorted(counts.head(GROUPS)[text.name].to_list())
    if not top or float(counts.head(GROUPS)["count"].sum()) < COVERED * float(counts["count"].sum()):
        return None
    place = {value: number for number, value in enumerate(top)}
    bucket = text.replace_strict(place, default=len(top), return_dtype=pl.Int64)
    bucket = bucket.set(text.is_null(), len(top) + 1)
    return bucket.to_numpy(), [
        *(value if len(value) <= 24 else f"{value[:23]}…" for value in top),
        "all others",
        "missing",
    ]
