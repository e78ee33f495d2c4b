"""Friends: who is linked to whom, and which of their events were known at some moment.

Shapes: B histories, U users, F friends of one at most, S moments, W windows, M events of all windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.arrays import Ints, ranges


class FriendEvents(NamedTuple):
    """Recent events of the friends that each of some moments knows; friends who share a window are read once.

    Attributes:
        items: (M,) int64, window by window.
        bags: (W,) int64 first of each window in `items`.
        places: (S, F) int64 1 + the window of each friend; 0 for no friend, or one without an event by then.
        weights: (S, F) float32 weight of the link, above 0; 0 where there is no window.
    """

    items: Tensor
    bags: Tensor
    places: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> FriendEvents:
        """The same on a device."""
        return FriendEvents(*(part.to(device) for part in self))

    def at(self, moments: Tensor) -> FriendEvents:
        """Of some moments, (n,) int64, only."""
        return self._replace(places=self.places[moments], weights=self.weights[moments])


@dataclass(frozen=True)
class Friends:
    """Who is a friend of each history's user, and where everyone's events lie in the columns of the histories.

    Attributes:
        rows: (B, F) int64 users, -1 where there are fewer than F.
        weights: (B, F) float32 weight of each link, above 0; 0 where there is none.
        start, end: (U,) int64 positions of the events of each user.
        most: events of a friend that are read, the newest.
    """

    rows: Ints
    weights: NDArray[np.float32]
    start: Ints
    end: Ints
    most: int

    def select(self, rows: slice | NDArray[np.generic]) -> Self:
        """Of these histories only (a slice, indices or a mask)."""
        return replace(self, rows=self.rows[rows], weights=self.weights[rows])

    def until(self, end: Ints) -> Self:
        """Nothing is known from the (U,) positions `end` on."""
        return replace(self, end=np.minimum(self.end, end))

    def moved(self, to: Ints) -> Self:
        """The same in columns where position p has become `to[p]`, or was left out."""
        return replace(self, start=to[self.start], end=to[self.end])

    def recent(self, item: NDArray[np.int32], time: Ints | None, owners: Ints, moments: Ints | None) -> FriendEvents:
        """The newest events of friends, of those that happened strictly before a moment; all there are without times.

        Args:
            item, time: (N,) columns of the histories, time in microseconds UTC, ascending within a user.
            owners: (S,) int64 the history that asks.
            moments: (S,) int64 microseconds UTC.
        """
        friends = self.rows[owners]
        there = friends >= 0
        who = friends[there]
        start, end = self.start[who], self.end[who]
        if time is not None and moments is not None:
            end = _before(time, start, end, np.broadcast_to(moments[:, None], there.shape)[there])
        some = end > start
        there[there] = some
        # events end in different places for different users, so that an end stands for its window
        ends, one_each, window = np.unique(end[some], return_index=True, return_inverse=True)
        begins = np.maximum(start[some][one_each], ends - self.most)
        places = np.zeros(there.shape, dtype=np.int64)
        places[there] = window + 1
        lengths = ends - begins
        return FriendEvents(
            torch.from_numpy(item[ranges(begins, ends)].astype(np.int64)),
            torch.from_numpy(np.cumsum(lengths) - lengths),
            torch.from_numpy(places),
            torch.from_numpy(np.where(there, self.weights[owners], np.float32(0))),
        )


def _before(time: Ints, start: Ints, end: Ints, moments: Ints) -> Ints:
    """(n,) int64 first position from `start` to `end` whose time isn't before the moment; `end` where all are."""
    low, high = start.copy(), end.copy()
    while (searching := low < high).any():
        middle = (low + high) // 2
        earlier = time[np.where(searching, middle, 0)] < moments
        low = np.where(searching & earlier, middle + 1, low)
        high = np.where(searching & ~earlier, middle, high)
    return low


def strongest(links: pl.DataFrame, most: int) -> pl.DataFrame:
    """Each user's links of the largest weights, at most so many; equal ones in the order of the table.

    Sorted by user, strongest first.
    """
    ordered = links.sort("user", "weight", descending=[False, True], maintain_order=True)
    return ordered.group_by("user", maintain_order=True).head(most)


def friends_of(links: pl.DataFrame, users: int) -> tuple[Ints, NDArray[np.float32]]:
    """(U, F) friends of each user, -1 where there are fewer, and the weights of the links, 0 there.

    Args:
        links: `user` and `friend` (rows of users), `weight`; sorted by user.
    """
    user = links["user"].to_numpy().astype(np.int64)
    sizes = np.bincount(user, minlength=users)
    place = np.arange(len(user)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = np.full((users, int(sizes.max(initial=0))), -1, dtype=np.int64)
    weights = np.zeros(rows.shape, dtype=np.float32)
    rows[user, place] = links["friend"].to_numpy()
    weights[user, place] = links["weight"].to_numpy()
    return rows, weights
