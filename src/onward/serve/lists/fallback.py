"""What fills a list that the model can't: items of which the store holds most events lately, then training's.

Items that nobody ever touched come last, so that a list is full whenever enough items pass the rules.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, time_ns

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Ints
from onward.errors import StoreError
from onward.models.base import Items
from onward.serve.lists.items import KeyIndex, LiveCatalog
from onward.serve.lists.rules import MICROSECONDS_A_DAY, Plan
from onward.serve.settings import FallbackConfig
from onward.serve.store.protocol import EventStore

MOST_RECENT = 1_000
"""Items of recent popularity."""


@dataclass(frozen=True)
class Popular:
    """All items, the most popular first.

    Attributes:
        number: of this count, 1 and up.
        order: (N,) int64 indices.
        recent: how many of them stand where they stand because of recent events.
        scores: (N + 1,) float32 log(1 + events) by index, of recent events where those decided.
    """

    number: int
    order: Ints
    recent: int
    scores: NDArray[np.float32]

    def under(self, plan: Plan) -> tuple[Ints, int]:
        """The items that rules let pass, in order, and how many of them are recent."""
        if self.number not in plan.popular:
            passing = plan.allowed[self.order]
            plan.popular = {self.number: (self.order[passing], int(passing[: self.recent].sum()))}
        return plan.popular[self.number]


class Popularity:
    """Counts anew when its count is old, on a thread of its own, and meanwhile answers from the old one."""

    def __init__(self, items: Items, store: EventStore, keys: KeyIndex, settings: FallbackConfig) -> None:
        self._items, self._store, self._keys, self._settings = items, store, keys, settings
        self._by_training: Ints = np.lexsort((items.tie_rank[1:], -items.train_counts[1:])) + 1  # once: it takes long
        self._thread = ThreadPoolExecutor(1, "popularity")
        self._lock = threading.Lock()
        self._popular: Popular | None = None
        self._due = 0.0

    def current(self, catalog: LiveCatalog) -> Popular:
        """The newest count over a state of the catalog."""
        popular = self._popular
        if popular is None or len(popular.order) != len(catalog):
            return self._count(catalog)
        if monotonic() > self._due:
            self._due = monotonic() + self._settings.refresh_seconds
            self._thread.submit(self._count, catalog)
        return popular

    def _count(self, catalog: LiveCatalog) -> Popular:
        with self._lock:
            recent, events = self._recent(len(catalog))
            counts = np.zeros(len(catalog) + 1, dtype=np.int64)
            counts[: self._items.n + 1] = self._items.train_counts
            added = np.arange(self._items.n + 1, len(catalog) + 1)  # nobody touched them in training
            by_training = np.concatenate([self._by_training, added])
            others = np.ones(len(catalog) + 1, dtype=np.bool_)
            others[recent] = False
            order = np.concatenate([recent, by_training[others[by_training]]])
            counts[recent] = events
            number = 1 if self._popular is None else self._popular.number + 1
            self._popular = Popular(number, order, len(recent), np.log1p(counts).astype(np.float32))
            self._due = monotonic() + self._settings.refresh_seconds
            return self._popular

    def _recent(self, size: int) -> tuple[Ints, Ints]:
        """Indices of the items with most recent events, and their events."""
        if not self._settings.recent_days:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        since = time_ns() // 1000 - int(self._settings.recent_days * MICROSECONDS_A_DAY)
        try:
            rows = np.array(self._store.popular(since, MOST_RECENT), dtype=np.int64).reshape(-1, 2)
        except StoreError:  # without the store, training's popularity answers until the next count
            rows = np.zeros((0, 2), dtype=np.int64)
        indices = self._keys.lookup(rows[:, 0]).astype(np.int64)
        known = (indices > 0) & (indices <= size)
        return indices[known], rows[known, 1]
