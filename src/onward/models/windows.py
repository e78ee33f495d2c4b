"""Which windows of histories to encode so that every request gets the state after its newest step.

Legend: B requests, W windows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.sequences import Histories, Ints
from onward.models.base import Traits


class RequestWindows:
    """The newest `max_length` steps of each history, where possible many requests in one window.

    The state after an event doesn't depend on later ones, so that requests whose windows begin together share one, as
    long as the longest of them. Alone stays a request of a model that isn't causal, and one of a model that reads times
    that is asked at another time than that of the event that follows, since the window holds that one's.
    """

    def __init__(self, histories: Histories, max_length: int, traits: Traits) -> None:
        self.steps = Steps(histories)
        first, last = np.maximum(self.steps.start, self.steps.end - max_length), self.steps.end
        following = self.steps.time_of(last)
        at = None if following is None or not traits.timed else histories.at
        alone = np.full(len(first), not traits.causal)
        if at is not None:
            alone |= at != following
        self.start, self.end, self.row = _shared(first, last, alone)
        self.place = last - first - 1
        self.at = None if at is None else _of_longest(at, last, self.end, self.row)

    def batches(self, budget: int) -> Iterator[tuple[Tensor, Tensor, Batch]]:
        """(n,) int64 requests, (n,) int64 the step of a batch after which each asks, and the batch of about `budget`
        steps; on the host."""
        lengths = self.end - self.start
        for rows in _by_length(lengths, budget):
            begins = np.full(len(lengths), -1)
            begins[rows] = np.cumsum(lengths[rows]) - lengths[rows]
            requests = np.flatnonzero(begins[self.row] >= 0)
            places = begins[self.row[requests]] + self.place[requests]
            yield torch.from_numpy(requests), torch.from_numpy(places), self._encode(rows)

    def _encode(self, rows: Ints) -> Batch:
        return self.steps.encode(self.start[rows], self.end[rows], None if self.at is None else self.at[rows])


def newest_window(history: Histories, max_length: int, traits: Traits) -> Batch:
    """What `RequestWindows` gives of a single history, at once: a live request feels every array that is made."""
    steps = Steps(history)
    at = history.at if traits.timed and history.time is not None else None
    return steps.encode(np.maximum(steps.start, steps.end - max_length), steps.end, at)


def _by_length(lengths: Ints, budget: int) -> list[Ints]:
    """Windows of like lengths together, about `budget` steps at once."""
    by_length = np.argsort(lengths, kind="stable")
    number = np.cumsum(lengths[by_length]) // budget
    return np.split(by_length, np.flatnonzero(np.diff(number)) + 1)


def _shared(first: Ints, last: Ints, alone: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """(W,) first and end of the windows to encode, and (B,) which of them holds each request."""
    key = np.where(alone, -1 - np.arange(len(first)), first)
    _, one_each, row = np.unique(key, return_index=True, return_inverse=True)
    start = first[one_each]
    end = start.copy()
    np.maximum.at(end, row, last)
    return start, end, row


def _of_longest(at: Ints, last: Ints, end: Ints, row: Ints) -> Ints:
    """(W,) request time of the request that ends with each window."""
    chosen = np.zeros(len(end), dtype=np.int64)
    longest = last == end[row]
    chosen[row[longest]] = at[longest]
    return chosen
