"""What an audit looks at, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onward.data.dataset import Manifest
from onward.data.sequences import Histories, Ints
from onward.data.split import Split

Severity = Literal["ok", "note", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        code: stable name of the check.
        title: what was counted.
        number: how many (or, for a distance, how far).
        of: what the number is a part of; None for a distance.
        share: number / of; None for a distance, or when `of` is zero.
        severity: `ok`; `note` when a reader of the metrics should know; `warning` when they mislead.
        found: one sentence with the figures.
        effect: what it does to metrics.
        advice: what to do; empty when nothing is to be done.
        details: further figures.
    """

    code: str
    title: str
    number: int | float
    of: int | None
    share: float | None
    severity: Severity
    found: str
    effect: str
    advice: str = ""
    details: Mapping[str, int | float | str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A data set under one split, with the arrays that several checks need.

    Attributes:
        id_rank: (n_items + 1,) int64, place of every item when ids are sorted (as numbers where they all are).
    """

    data: Histories
    split: Split
    manifest: Manifest
    id_rank: Ints

    @cached_property
    def owner(self) -> Ints:
        """(N,) int64 user of every position."""
        rows, positions = self.data.positions()
        owner = np.full(len(self.data.item), -1, dtype=np.int64)
        owner[positions] = rows
        return owner

    @cached_property
    def training(self) -> Histories:
        """Every user's training events."""
        return self.split.training(self.data)

    @cached_property
    def train_counts(self) -> Ints:
        """(n_items + 1,) int64 training events of each item."""
        return self.training.item_counts()

    @cached_property
    def test_events(self) -> tuple[Ints, Ints]:
        """(request, position) of every event to predict in the test."""
        return self.split.test.targets(self.data)

    @cached_property
    def test_time(self) -> Ints:
        """(R,) int64 time of every test request; only where the data has times."""
        assert self.data.time is not None
        return np.asarray(self.data.time[self.split.test.target_start])

    @cached_property
    def before(self) -> Ints:
        """(N,) int64 the latest earlier position with the same user and item; -1 where there is none."""
        key = self.owner * (self.data.n_items + 1) + self.data.item
        order = np.argsort(key, kind="stable")
        same = key[order[1:]] == key[order[:-1]]
        before = np.full(len(key), -1, dtype=np.int64)
        before[order[1:][same]] = order[:-1][same]
        return before

    @cached_property
    def first(self) -> Ints:
        """(N,) int64 the first position with the same user and item."""
        key = self.owner * (self.data.n_items + 1) + self.data.item
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        return np.asarray(first[inverse], dtype=np.int64)

    @cached_property
    def tie_sizes(self) -> Ints:
        """(N,) int64 events of the same user at the same time, the event itself included."""
        assert self.data.time is not None
        return run_sizes(self.owner, self.data.time)

    @property
    def grouped(self) -> bool:
        """Whether the data set declares groups."""
        return "group" in self.data.columns


def run_sizes(*keys: NDArray[Any]) -> Ints:
    """(N,) int64 length of the run of equal neighbours (in all keys) that each position lies in."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    change = np.zeros(len(keys[0]) - 1, dtype=np.bool_)
    for key in keys:
        change |= key[1:] != key[:-1]
    edges = np.concatenate([[0], np.flatnonzero(change) + 1, [len(keys[0])]])
    sizes = np.diff(edges)
    lengths: Ints = np.repeat(sizes, sizes)
    return lengths


def ratio(number: float, of: int) -> float | None:
    """A share; None of nothing."""
    return number / of if of else None


def percent(share: float | None) -> str:
    """A share for people: 12.3%."""
    if share is None:
        return "-"
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def graded(share: float | None, note: float, warning: float) -> Severity:
    """Severity of a share: above `warning`, above `note`, or neither."""
    if share is None:
        return "ok"
    return "warning" if share > warning else "note" if share > note else "ok"


def day(microseconds: float) -> str:
    """A date for people, UTC."""
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[D]"))
