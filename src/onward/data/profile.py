"""One column in figures: the commonest values or a histogram, the range, and drift between two parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.drift import Floats, kolmogorov_smirnov, stability_index

BARS = 8
"""Bars of a histogram."""
Measure = Literal["value", "microseconds", "characters", "norm", "names"]
MEASURES: dict[str, Measure] = {"number": "value", "time": "microseconds", "text": "characters", "vector": "norm"}
"""Kind -> which number of a value is ranged and drawn; other kinds are counted by name."""


@dataclass(frozen=True)
class Numbers:
    """A column that is measured: (k,) the number of each different value (or of each row of a table), NaN for none."""

    of: Floats

    def drift(self, training: Floats, test: Floats) -> tuple[str, float | None]:
        """Name and value of the measure of drift, of (k,) events with each value in the two parts."""
        return "ks", kolmogorov_smirnov(self.of, training, test)

    def range(self, rows: Floats) -> tuple[float, float] | None:
        """Smallest and largest of the numbers that rows have."""
        known = self.of[(rows > 0) & ~np.isnan(self.of)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def bars(self, rows: Floats) -> list[tuple[str, float]]:
        """(lower edge, share of the rows with a value) of equal steps, of (k,) rows a value.

        The steps go from the 1st to the 99th percentile; what lies beyond is in the first and the last.
        """
        there = ~np.isnan(self.of) & (rows > 0)
        if not there.any():
            return []
        order = np.argsort(self.of[there], kind="stable")
        ordered, weight = self.of[there][order], rows[there][order]
        passed = np.cumsum(weight) / weight.sum()
        low, high = (ordered[min(int(np.searchsorted(passed, at)), len(ordered) - 1)] for at in (0.01, 0.99))
        if low == high:
            return [(f"{low:g}", 1.0)]
        edges = np.linspace(low, high, BARS + 1)
        which = np.clip(np.searchsorted(edges, ordered, side="right") - 1, 0, BARS - 1)
        shares = np.bincount(which, weights=weight, minlength=BARS) / weight.sum()
        return [(f"{edge:g}", float(share)) for edge, share in zip(edges, shares, strict=False)]


@dataclass(frozen=True)
class Names:
    """A column that is counted by name.

    Attributes:
        names: (n,) different names.
        member, place: (m,) value (or row of a table) that has a name, and that name's place; a set has several.
    """

    names: pl.Series
    member: NDArray[np.int64]
    place: NDArray[np.int64]

    def counts(self, rows: Floats) -> Floats:
        """(n,) rows with each name, of (k,) rows a value."""
        return np.bincount(self.place, rows[self.member], self.names.len()).astype(np.float64)

    def drift(self, training: Floats, test: Floats) -> tuple[str, float | None]:
        """Name and value of the measure of drift, of (k,) events with each value in the two parts."""
        return "psi", stability_index(self.counts(training), self.counts(test))

    def range(self, rows: Floats) -> None:
        """Names have no range."""

    def bars(self, rows: Floats) -> list[tuple[str, float]]:
        """(name, share of the rows with a value) of the commonest names, of (k,) rows a value."""
        counts = self.counts(rows)
        known = rows[np.unique(self.member)].sum()
        top = np.argsort(-counts, kind="stable")[:BARS]
        return [(str(self.names[int(at)]), float(counts[at] / known)) for at in top if counts[at]]


def profile_of(values: pl.Series, kind: str) -> Numbers | Names:
    """The profile of different values, or of the rows of a table, by their kind; nulls are no values."""
    if kind not in MEASURES:
        return _names(values)
    if kind == "text":
        numbers = values.cast(pl.String).str.len_chars()
    elif kind == "vector":
        numbers = values.list.eval(pl.element().cast(pl.Float64).pow(2)).list.sum().sqrt()
        numbers = numbers.set(values.is_null(), None)
    else:
        numbers = values.dt.epoch("us") if values.dtype.is_temporal() else values
    return Numbers(numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy())


def _names(values: pl.Series) -> Names:
    frame = pl.DataFrame({"value": pl.Series(range(values.len()), dtype=pl.Int64), "name": values})
    if isinstance(values.dtype, pl.List):
        frame = frame.explode("name", empty_as_null=True)
    frame = frame.drop_nulls().with_columns(pl.col("name").cast(pl.String))
    names = frame["name"].unique().sort()
    places = pl.DataFrame({"name": names, "place": pl.Series(range(names.len()), dtype=pl.Int64)})
    joined = frame.join(places, on="name", how="left", maintain_order="left")
    return Names(names, joined["value"].to_numpy(), joined["place"].to_numpy())


def numbers_of(values: NDArray[Any]) -> tuple[Numbers, NDArray[np.int64]]:
    """Of an array with one number a row: (its different values, (n,) which of them each row has)."""
    different, which = np.unique(values, return_inverse=True)
    return Numbers(different.astype(np.float64)), which.astype(np.int64)
