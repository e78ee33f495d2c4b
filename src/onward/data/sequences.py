"""Histories: one user's events each, oldest first, as windows into flat arrays.

The same class holds a data set, its training part, the requests of an evaluation and a single visitor's
clicks, so that training, evaluation and serving agree on what a history is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onward.data.arrays import Ints as Ints
from onward.errors import DataError

if TYPE_CHECKING:
    from onward.data.friends import Friends


@dataclass(frozen=True)
class Histories:
    """History i is positions `start[i]` to `end[i]` (exclusive) of every column.

    Attributes:
        columns: name -> flat array, all of one length. Always `item` (int32; 1 to n_items, 0 is never an
            item). Where the data has them: `time` (int64, microseconds UTC, ascending within a history),
            `action` (uint8), `value` (float32, NaN where missing), `group` (int32, ascending within a
            history; events with one number form a group, whose members are never input for each other).
        start, end: (B,) int64 positions.
        n_items: the largest item index.
        at: (B,) int64, the time of each request in microseconds UTC, or None.
        inputs: names of further columns that a model reads of every event of a history.
        known: names of columns that are known when a recommendation is asked for, of the event that follows too.
        about: name -> (B, ...) array, what is known of each history as a whole: of its user, and of its request.
        lookups: name of a coded column -> (codes, ...) array: row c is what code c stands for to the model.
        friends: whose events a model reads beside those of each history; None where it reads no links.
    """

    columns: Mapping[str, NDArray[np.generic]]
    start: Ints
    end: Ints
    n_items: int
    at: Ints | None = None
    inputs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    about: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    lookups: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    friends: Friends | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(column) for name, column in self.columns.items()}
        if "item" not in sizes:
            raise DataError("histories need an 'item' column", f"columns: {sorted(sizes)}")
        if len(set(sizes.values())) > 1:
            raise DataError(f"columns of different lengths: {sizes}")
        if self.start.shape != self.end.shape:
            raise DataError(f"{len(self.start)} starts but {len(self.end)} ends")

    def __len__(self) -> int:
        return len(self.start)

    @property
    def item(self) -> NDArray[np.int32]:
        """(N,) int32 item of every position."""
        return self.columns["item"]  # type: ignore[return-value]

    @property
    def time(self) -> Ints | None:
        """(N,) int64 microseconds UTC of every position, or None where the data has no time."""
        return self.columns.get("time")  # type: ignore[return-value]

    @property
    def lengths(self) -> Ints:
        """(B,) int64 number of events of each history."""
        return self.end - self.start

    @property
    def n_events(self) -> int:
        """Events in all histories together; one that lies in two histories counts twice."""
        return int(self.lengths.sum())

    def select(self, rows: slice | NDArray[np.generic]) -> Histories:
        """These histories only (a slice, indices or a mask); no event is copied."""
        return replace(
            self,
            start=self.start[rows],
            end=self.end[rows],
            at=None if self.at is None else self.at[rows],
            about={name: values[rows] for name, values in self.about.items()},
            friends=None if self.friends is None else self.friends.select(rows),
        )

    def read(self, name: str, positions: Ints) -> NDArray[np.generic]:
        """(n, ...) what a column holds at some positions; of a coded one what its codes stand for."""
        values = self.columns[name][positions]
        return self.lookups[name][values] if name in self.lookups else values

    def asked(self, rows: Ints, start: Ints, end: Ints, following: Ints, at: Ints | None = None) -> Histories:
        """Requests: what is known in front of some events, (R,) positions `following` that themselves aren't.

        Args:
            rows: (R,) int64 the history that each request is of. start, end: (R,) int64 positions of what it knows.
            at: (R,) int64 microseconds UTC, or None.

        Of the events that follow, what is known when a recommendation is asked for is all that is read.
        """
        about = {name: values[rows] for name, values in self.about.items()}
        about |= {name: self.read(name, following) for name in self.known}
        friends = None if self.friends is None else self.friends.select(rows)
        return replace(self, start=start, end=end, at=at, about=about, friends=friends)

    def newest(self, limit: int) -> Histories:
        """The last `limit` events of each history."""
        return replace(self, start=np.maximum(self.start, self.end - limit))

    def positions(self) -> tuple[Ints, Ints]:
        """(row, position) of every event, history by history: two (n_events,) int64 arrays."""
        if len(self) == 1:  # the request of a live service, which feels every array that is made
            return np.zeros(self.end[0] - self.start[0], dtype=np.int64), np.arange(self.start[0], self.end[0])
        lengths = self.lengths
        rows = np.repeat(np.arange(len(self), dtype=np.int64), lengths)
        first = np.cumsum(lengths) - lengths
        within = np.arange(len(rows), dtype=np.int64) - np.repeat(first, lengths)
        return rows, np.repeat(self.start, lengths) + within

    def groups(self) -> NDArray[np.int32]:
        """(N,) int32 group number of every position of the columns; without a `group` column each event is its own."""
        if "group" in self.columns:
            return self.columns["group"]  # type: ignore[return-value]
        return np.arange(len(self.item), dtype=np.int32)

    def item_counts(self) -> Ints:
        """(n_items + 1,) int64 events of each item over all histories."""
        _, positions = self.positions()
        return np.bincount(self.item[positions], minlength=self.n_items + 1).astype(np.int64)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], n_items: int, at: Ints | None = None) -> Histories:
        """Histories of plain item indices, oldest first. Raises DataError for an index that is no item."""
        lengths = np.array([len(items) for items in lists], dtype=np.int64)
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(lengths.sum()))
        wrong = flat[(flat < 1) | (flat > n_items)]
        if len(wrong):
            raise DataError(f"item index {wrong[0]} is outside 1 to {n_items}")
        end = np.cumsum(lengths)
        return cls({"item": flat.astype(np.int32)}, end - lengths, end, n_items, at)
