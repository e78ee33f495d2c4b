"""Augmentation: other histories made of a history, for training alone.

`crop`, `mask` and `reorder` are those of CL4SRec (Xie et al., ICDE 2022, arXiv:2010.14395), `insert` and `substitute`
by similar items those of CoSeRec (Liu et al., 2021, arXiv:2108.06479); `drop` leaves single events out.

A row is a sequence of places. Each has an item that is shown, and one that is wanted: what the model is to predict
there, where the place is a target. So that what is learned stays true:

- `crop`, `drop` and `reorder` make another sequence of the same events, and its next item is the target.
- `mask` and `substitute` change what is shown and never what is wanted.
- `insert` shows an item like the one before it, not like the next one, which is still what is wanted there.

Every function takes rows and gives new ones, is vectorised over them, and draws from the generator it is given only.
Shapes: B rows, N places of all rows, V items, K similar items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onward.config import Transform
from onward.data.sequences import Ints

Shares = NDArray[np.float64]
MASK = 0
"""What a masked place shows: the padding, which is no item."""


@dataclass(frozen=True)
class AugmentedRows:
    """Rows of places, flat.

    Attributes:
        shown: (N,) int64 items that are input.
        wanted: (N,) int64 items to predict.
        positions: (N,) int64 where each place's event, or the one before an inserted item, lies in the columns.
        lengths: (B,) int64 places of each row.
        least: places that a row keeps.
    """

    shown: Ints
    wanted: Ints
    positions: Ints
    lengths: Ints
    least: int = 1

    @property
    def row(self) -> Ints:
        """(N,) int64 the row of each place."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def begins(self) -> Ints:
        """(B,) int64 the first place of each row."""
        begins: Ints = np.cumsum(self.lengths) - self.lengths
        return begins

    @property
    def within(self) -> Ints:
        """(N,) int64 each place's number in its row, from 0."""
        return np.arange(len(self.shown)) - np.repeat(self.begins, self.lengths)

    def keep(self, kept: NDArray[np.bool_]) -> AugmentedRows:
        """Only some places, (N,) bool."""
        lengths = np.bincount(self.row[kept], minlength=len(self.lengths))
        return AugmentedRows(self.shown[kept], self.wanted[kept], self.positions[kept], lengths, self.least)

    def followed_by(self, items: NDArray[np.int32], positions: Ints) -> AugmentedRows:
        """One more place at the end of each row; (B,) both."""
        ends = np.cumsum(self.lengths)
        return AugmentedRows(
            np.insert(self.shown, ends, items),
            np.insert(self.wanted, ends, items),
            np.insert(self.positions, ends, positions),
            self.lengths + 1,
            self.least,
        )

    def newest(self, limit: int) -> AugmentedRows:
        """The last `limit` places of each row."""
        return self.keep(self.within >= np.repeat(self.lengths, self.lengths) - limit)

    def changed(self, shares: Shares, spare: int = 0) -> Ints:
        """(B,) int64 places that a share of each row is, rounded up, when `spare` places must stay as they are."""
        counts = np.ceil(np.round(shares * self.lengths, 9)).astype(np.int64)  # 0.2 * 15 is 3.0000000000000004
        return np.clip(counts, 0, np.maximum(self.lengths - spare, 0))

    def some(self, counts: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(N,) bool: `counts[b]` places of row b, any as likely as any other."""
        order = np.lexsort((rng.random(len(self.shown)), self.row))
        chosen = np.zeros(len(self.shown), dtype=np.bool_)
        chosen[order] = self.within < np.repeat(counts, self.lengths)
        return chosen

    def block(self, counts: Ints, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(N,) bool: `counts[b]` successive places of row b, wherever they begin."""
        begin = np.floor(rng.random(len(counts)) * (self.lengths - counts + 1)).astype(np.int64)
        place = self.within - np.repeat(begin, self.lengths)
        return (place >= 0) & (place < np.repeat(counts, self.lengths))


def crop(rows: AugmentedRows, shares: Shares, rng: np.random.Generator) -> AugmentedRows:
    """Successive places only; `shares` ((B,) in [0, 1), as in all that follow) of each row are cut away."""
    return rows.keep(rows.block(rows.lengths - rows.changed(shares, rows.least), rng))


def drop(rows: AugmentedRows, shares: Shares, rng: np.random.Generator) -> AugmentedRows:
    """Single places are left out."""
    return rows.keep(~rows.some(rows.changed(shares, rows.least), rng))


def reorder(rows: AugmentedRows, shares: Shares, rng: np.random.Generator) -> AugmentedRows:
    """Successive places in another order; their times stay, ascending."""
    places = np.flatnonzero(rows.block(rows.changed(shares), rng))
    other = places[np.lexsort((rng.random(len(places)), rows.row[places]))]
    shown, wanted = rows.shown.copy(), rows.wanted.copy()
    shown[places], wanted[places] = shown[other], wanted[other]
    return replace(rows, shown=shown, wanted=wanted)


def mask(rows: AugmentedRows, shares: Shares, rng: np.random.Generator) -> AugmentedRows:
    """Single places show no item."""
    return replace(rows, shown=np.where(rows.some(rows.changed(shares), rng), MASK, rows.shown))


def substitute(rows: AugmentedRows, shares: Shares, rng: np.random.Generator, similar: Ints) -> AugmentedRows:
    """Single places show one of their items' similar ones: `similar` is (V + 1, K) int64, 0 where there are fewer."""
    instead = _any_similar(rows.shown, similar, rng)
    chosen = rows.some(rows.changed(shares), rng) & (instead > 0)
    return replace(rows, shown=np.where(chosen, instead, rows.shown))


def insert(rows: AugmentedRows, shares: Shares, rng: np.random.Generator, similar: Ints) -> AugmentedRows:
    """After single places, never a row's last, one of their items' similar ones is shown."""
    added = _any_similar(rows.shown, similar, rng)
    last = rows.begins + rows.lengths - 1
    chosen = rows.some(rows.changed(shares), rng) & (added > 0)
    chosen[last] = False
    place = np.flatnonzero(chosen)
    return AugmentedRows(
        np.insert(rows.shown, place + 1, added[place]),
        np.insert(rows.wanted, place + 1, rows.wanted[place + 1]),
        np.insert(rows.positions, place + 1, rows.positions[place]),
        rows.lengths + np.bincount(rows.row[place], minlength=len(rows.lengths)),
        rows.least,
    )


def _any_similar(items: Ints, similar: Ints, rng: np.random.Generator) -> Ints:
    """(N,) one of the similar items of each, 0 where it has none."""
    known = (similar > 0).sum(axis=1)[items]
    which = np.floor(rng.random(len(items)) * known).astype(np.int64)
    found: Ints = similar[items, which]
    return found


@dataclass(frozen=True)
class Augmentation:
    """Some rows are changed, each by one of the transforms.

    Attributes:
        transforms: what may be done to a row, each as likely.
        rows: share of the rows that are changed.
        strength: share of such a row's places that are cut away, left out, moved, masked, substituted or added to.
        similar: (V + 1, K) int64 items like each item, the first of its row above zero; for `insert` and `substitute`.
    """

    transforms: Sequence[Transform]
    rows: float
    strength: float
    similar: Ints | None = None

    def apply(self, rows: AugmentedRows, rng: np.random.Generator) -> AugmentedRows:
        """Every row as it is or changed once."""
        chosen = rng.integers(len(self.transforms), size=len(rows.lengths))
        chosen[rng.random(len(rows.lengths)) >= self.rows] = -1
        for number, name in enumerate(self.transforms):
            shares = np.where(chosen == number, self.strength, 0.0)
            if name in BY_SIMILARITY:
                assert self.similar is not None
                rows = BY_SIMILARITY[name](rows, shares, rng, self.similar)
            else:
                rows = PLAIN[name](rows, shares, rng)
        return rows


PLAIN: Mapping[str, Callable[[AugmentedRows, Shares, np.random.Generator], AugmentedRows]] = {
    "crop": crop,
    "mask": mask,
    "reorder": reorder,
    "drop": drop,
}
BY_SIMILARITY: Mapping[str, Callable[[AugmentedRows, Shares, np.random.Generator, Ints], AugmentedRows]] = {
    "insert": insert,
    "substitute": substitute,
}
