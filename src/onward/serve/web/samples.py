"""What was counted over the last minutes: snapshots of the server's counters, and the rates between them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onward.serve.api.metrics import BUCKETS, FALLBACKS, ROUTES, STATUSES, Metrics

EVERY = 5.0
"""Seconds between two snapshots."""
KEPT = 61
"""Snapshots: five minutes of them."""


@dataclass(frozen=True)
class Snapshot:
    """Counters since the start of the server.

    Attributes:
        time: seconds since 1970.
        requests: HTTP requests for recommendations and with events.
        failed: HTTP requests, this page's among them, that were answered with 5xx.
        events: events stored.
        lists: lists made; `fallen` those of them that fell back.
        latency: counts of the buckets of `total`, the time of a whole request for recommendations.
        model: the same of the model's part alone, lists for the page included.
    """

    time: float
    requests: float
    failed: float
    events: float
    lists: float
    fallen: float
    latency: Sequence[float]
    model: Sequence[float]


@dataclass(frozen=True)
class Rates:
    """What happened between two snapshots; None where nothing did.

    Attributes:
        requests, events: of a second, and of a minute.
        quantiles: 50%, 95% and 99% of the latency, seconds.
        model: half of the lists took the model less, seconds.
        fallback: share of the lists that fell back.
        failed: requests answered with 5xx.
    """

    requests: float
    events: float
    quantiles: tuple[float | None, float | None, float | None]
    model: float | None
    fallback: float | None
    failed: float


def rates(before: Snapshot, after: Snapshot) -> Rates:
    """The rates between two snapshots, the earlier one first."""
    seconds = max(1e-3, after.time - before.time)
    latency = _less(after.latency, before.latency)
    lists = after.lists - before.lists
    return Rates(
        requests=(after.requests - before.requests) / seconds,
        events=60 * (after.events - before.events) / seconds,
        quantiles=(quantile(latency, 0.5), quantile(latency, 0.95), quantile(latency, 0.99)),
        model=quantile(_less(after.model, before.model), 0.5),
        fallback=(after.fallen - before.fallen) / lists if lists else None,
        failed=after.failed - before.failed,
    )


def _less(after: Sequence[float], before: Sequence[float]) -> list[float]:
    return [new - old for new, old in zip(after, before, strict=True)]


def quantile(counts: Sequence[float], share: float) -> float | None:
    """A quantile of a histogram over BUCKETS, seconds: within its bucket by proportion. None without a count.

    What lies above the last edge counts as the last edge.
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below, low = share * total, 0.0, 0.0
    for edge, number in zip(BUCKETS, counts, strict=False):
        if number and below + number >= wanted:
            return low + (edge - low) * (wanted - below) / number
        below, low = below + number, edge
    return BUCKETS[-1]


class Samples:
    """The newest snapshots of a server's counters.

    Args:
        metrics: of all workers.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: deque[Snapshot] = deque(maxlen=KEPT)
        self.take()

    def take(self) -> None:
        """Keep a snapshot of now."""
        self._kept.append(self._now())

    def _now(self) -> Snapshot:
        value = self._metrics.value
        requests = {route: [value(f"requests:{route}:{status}") for status in STATUSES] for route in ROUTES}
        lists = {fallback: value(f"lists:{fallback}") for fallback in FALLBACKS}
        return Snapshot(
            time=time.time(),
            requests=sum(requests["recommendations"]) + sum(requests["events"]),
            failed=sum(counts[STATUSES.index("5xx")] for counts in requests.values()),
            events=value("events:stored"),
            lists=sum(lists.values()),
            fallen=sum(lists.values()) - lists["none"],
            latency=self._metrics.histogram("stage:total")[0],
            model=self._metrics.histogram("stage:model")[0],
        )

    async def keep_taking(self) -> None:
        """Take one every few seconds until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            self.take()

    def window(self) -> tuple[Rates, float]:
        """Rates over all that is kept, up to now, and the seconds that it spans."""
        first, last = self._kept[0], self._now()
        return rates(first, last), last.time - first.time

    def series(self) -> list[tuple[float, Rates]]:
        """(seconds since 1970, rates up to then), oldest first."""
        return [(after.time, rates(before, after)) for before, after in pairwise(self._kept)]
