"""Columns fitted on the training part, and nothing else: vocabularies, statistics, encoders.

What an item's column looks like is learned from the items that training events have, a user's from the users who have
such events, an event's from the training events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.dataset import CODED, MISSING_TIME
from onward.data.features.kinds import Owner
from onward.data.sequences import Histories, Ints
from onward.models.features.category_column import CategoryColumn, members
from onward.models.features.columns import Column, LinksColumn
from onward.models.features.number_column import NumberColumn
from onward.models.features.source import LINKS, Offered, Source
from onward.models.features.time_column import MICROSECONDS_A_DAY, TimeColumn
from onward.models.features.vector_column import VectorColumn, encoder_for, vectors_of

MANY_VALUES, BUCKETS = 20_000, 8_192
"""A category with more values than this is hashed into so many buckets."""
LONGEST = 32
"""Members of a set that are read, at most."""
INTERVALS = 16
KNOTS = 256
SKEWED = 1.5
"""A column of numbers with a skewness beyond this isn't just standardised."""
MOST_VECTORS = 50_000
"""Vectors that their mean is taken of, at most."""
FRIENDS, FRIEND_EVENTS = 32, 50
"""Friends of a user, and newest events of each, that are read."""

Floats = NDArray[np.float64]


def fit_columns(source: Source, training: Histories, chosen: Sequence[Offered]) -> tuple[list[Column], list[str]]:
    """Fitted columns, and notes: which encoder a text got and why; which columns say nothing, since they have one value
    in all of the training part."""
    rows = training_rows(source, training)
    columns, notes = [], []
    for one in chosen:
        if one.kind == LINKS:
            fitted = _links(source, training, one)
            if fitted is None:
                notes.append("users links: left out, no user of the training part has a friend with a training event")
            else:
                columns.append(fitted)
            continue
        values, counts = training_values(source, training, one, rows)
        encoder = ""
        if one.kind == "text":
            encoder, note = encoder_for(values)
            notes.append(f"{one.owner} {one.name}: {note}")
        fitted = fit_column(one, values, counts, encoder)
        if fitted is None:
            notes.append(f"{one.owner} {one.name}: left out, it has one value or none in the training part")
        else:
            columns.append(fitted)
    return columns, notes


def training_rows(source: Source, training: Histories) -> dict[Owner, Ints]:
    """Whose columns are learned from: the training events' positions, and the rows of the items and users they have."""
    return {
        "events": training.positions()[1],
        "items": np.flatnonzero(training.item_counts()[1 : source.items.height + 1] > 0),
        "users": np.flatnonzero(training.lengths > 0),
    }


def training_values(
    source: Source, training: Histories, one: Offered, rows: Mapping[Owner, Ints]
) -> tuple[pl.Series, Ints]:
    """Values of a column in the training part, and how often each occurs; `rows` as `training_rows` gives them."""
    if one.owner == "events":
        return _of_events(source, training, one, rows["events"])
    values = source.column(one).gather(rows[one.owner])
    return values, np.ones(len(values), dtype=np.int64)


def _links(source: Source, training: Histories, one: Offered) -> Column | None:
    assert source.links is not None
    has_events = training.lengths > 0
    both = has_events[source.links["user"].to_numpy()] & has_events[source.links["friend"].to_numpy()]
    if not both.any():
        return None
    return LinksColumn(owner=one.owner, name=one.name, key=one.key, friends=FRIENDS, events=FRIEND_EVENTS)


def _of_events(source: Source, training: Histories, one: Offered, positions: Ints) -> tuple[pl.Series, Ints]:
    """Values of the training events, coded ones once each, and how often."""
    held = training.columns[one.key][positions]
    if one.kind in CODED:
        distinct = source.values(one.name)
        first = 0 if one.key == "action" else 1  # of actions the manifest lists code 0 too
        counts = np.bincount(held, minlength=len(distinct) + first)[first:]
        there = np.flatnonzero(counts)
        return distinct.gather(there), counts[there]
    values = pl.Series(held)
    if one.kind == "time":
        values = values.replace(MISSING_TIME, None)
    return values.fill_nan(None) if values.dtype.is_float() else values, np.ones(len(values), dtype=np.int64)


def fit_column(one: Offered, values: pl.Series, counts: Ints, encoder: str = "") -> Column | None:
    """One column fitted on training values and how often each occurs; None when it could tell nothing apart.

    Args:
        encoder: of texts, its name.
    """
    base = {"owner": one.owner, "name": one.name, "key": one.key, "known_at_request": one.known_at_request}
    given = values.is_not_null().to_numpy()
    present, times = values.filter(pl.Series(given)), counts[given]
    if not len(present):
        return None
    if one.kind in ("category", "categories"):
        return _category(one, base, present, times, bool((~given).any()))
    if one.kind == "number":
        numbers = present.cast(pl.Float64).to_numpy()
        return _number(base, numbers) if numbers.min() < numbers.max() or not given.all() else None
    if one.kind == "time":
        return _time(one, base, present)
    return _vector(one, base, present, encoder)


def _category(one: Offered, base: dict[str, Any], values: pl.Series, times: Ints, missing: bool) -> Column | None:
    longest = 1
    if one.kind == "categories":
        longest = int(min(max(1, members(values).list.len().to_numpy().max(initial=1)), LONGEST))
    counted = count_values(one, values, times)
    if counted.height + missing < 2:
        return None
    hashed = counted.height > MANY_VALUES
    return CategoryColumn(
        **base,
        kind=one.kind,
        vocabulary=[] if hashed else counted["value"].to_list(),
        buckets=BUCKETS if hashed else 0,
        longest=longest,
    )


def count_values(one: Offered, values: pl.Series, times: Ints) -> pl.DataFrame:
    """`value` and `n`: how often a category, or a member of a set, occurs, most frequent first; null doesn't count."""
    given = values.is_not_null()
    values, times = values.filter(given), times[given.to_numpy()]
    if one.kind == "categories":
        sets = members(values)
        times = np.repeat(times, sets.list.len().to_numpy())
        values = sets.explode(empty_as_null=False, keep_nulls=False)
    counted = pl.DataFrame({"value": values.cast(pl.String), "n": times}).group_by("value").agg(pl.col("n").sum())
    return counted.sort(["n", "value"], descending=[True, False])


def _number(base: dict[str, Any], numbers: Floats) -> Column:
    transform = choose_transform(numbers)
    knots = np.unique(np.quantile(numbers, np.linspace(0, 1, KNOTS))) if transform == "quantile" else np.zeros(0)
    plain = NumberColumn(
        **base,
        transform=transform,
        median=float(np.median(numbers)),
        least=float(numbers.min()),
        knots=knots.tolist(),
    )
    changed = plain.transformed(numbers)
    fixed = transform == "none"
    scaled = plain.model_copy(
        update={
            "middle": 0.0 if fixed else float(changed.mean()),
            "scale": 1.0 if fixed else float(changed.std()) or 1.0,
        }
    )
    return scaled.model_copy(update={"edges": _edges(scaled.normalise(numbers)).tolist()})


def choose_transform(numbers: Floats) -> Literal["none", "standard", "log", "quantile"]:
    """`none` for shares and flags, `standard` for what is about symmetric, `log` where that makes it so, else
    `quantile`."""
    if numbers.min() >= -1 and numbers.max() <= 1:
        return "none"
    skew = abs(_skewness(numbers))
    if skew <= SKEWED:
        return "standard"
    return "log" if abs(_skewness(np.log1p(numbers - numbers.min()))) <= SKEWED else "quantile"


def _skewness(numbers: Floats) -> float:
    centred = numbers - numbers.mean()
    spread = float(np.sqrt((centred**2).mean()))
    return float((centred**3).mean()) / spread**3 if spread > 0 else 0.0


def _edges(numbers: Floats) -> Floats:
    """Quantiles that cut numbers into INTERVALS parts, or into fewer where they have fewer different values."""
    return np.unique(np.quantile(numbers, np.linspace(0, 1, INTERVALS + 1)))


def _time(one: Offered, base: dict[str, Any], values: pl.Series) -> Column | None:
    elapsed = one.key == "time"
    column = TimeColumn(**base, elapsed=elapsed)
    times = column.read(values)
    if times.min() == times.max():
        return None
    return column if elapsed else column.model_copy(update={"edges": _edges(times / MICROSECONDS_A_DAY).tolist()})


def _vector(one: Offered, base: dict[str, Any], values: pl.Series, encoder: str) -> Column | None:
    some = values.gather(np.linspace(0, len(values) - 1, min(len(values), MOST_VECTORS)).astype(np.int64))
    vectors = vectors_of(some, encoder).astype(np.float64)
    mean = vectors.mean(0)
    length = float(np.sqrt(((vectors - mean) ** 2).sum(1).mean()))
    if length == 0:
        return None
    return VectorColumn(**base, kind=one.kind, encoder=encoder, mean=mean.tolist(), scale=length)
