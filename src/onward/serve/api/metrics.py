"""What is counted, and how it is told to Prometheus.

All workers count in one shared table of float64, a row a worker; whoever is asked adds the rows up. A worker that dies
leaves its counts behind and its successor goes on counting in the same row, so that no counter ever falls. Counting is
an addition in memory that is mapped: no lock, no system call.
"""

from __future__ import annotations

import mmap
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from onward.errors import StoreError
from onward.serve.lists.requests import Answer
from onward.serve.store.protocol import Clicks, Deployment, Event, EventStore, Outcome

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper edges of the histograms, seconds."""
STAGES = ("total", "queue", "history", "model", "rank", "reasons")
"""Parts of a recommendation; `total` is the whole HTTP request."""
ROUTES = ("recommendations", "events", "other")
STATUSES = ("2xx", "3xx", "4xx", "5xx")
OUTCOMES = ("stored", "duplicate", "conflict", "rejected")
FALLBACKS = ("none", "recent", "popular")
WIDTH = len(BUCKETS) + 2
"""Places of a histogram: buckets, the one above, the sum."""
HISTOGRAMS = (*(f"stage:{name}" for name in STAGES), "event_commit", "event_lag")
COUNTERS = (
    *(f"requests:{route}:{status}" for route in ROUTES for status in STATUSES),
    *(f"events:{outcome}" for outcome in OUTCOMES),
    *(f"lists:{fallback}" for fallback in FALLBACKS),
    "unknown_items",
    "unknown_values",
    "connections_refused",
    "connections_slow",
)
GAUGES = ("queue", "connections")
_PLACES = {name: place * WIDTH for place, name in enumerate(HISTOGRAMS)}
_FIRST = len(HISTOGRAMS) * WIDTH
_PLACES.update({name: _FIRST + place for place, name in enumerate((*COUNTERS, *GAUGES))})
ROW = _FIRST + len(COUNTERS) + len(GAUGES)
"""Numbers of a worker."""
CLICK_HOURS = 24.0
"""Hours over which click-through is told."""


def shared_table(workers: int) -> BinaryIO:
    """A nameless file that the workers map; pass its descriptor on to them."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
    file.truncate(workers * ROW * 8)
    return file


class Metrics:
    """One worker's row of the table.

    Args:
        table: of `shared_table`; by default a table of this process's own.
        worker: number of this worker, from 0.
    """

    def __init__(self, table: int | None = None, worker: int = 0) -> None:
        self._all = memoryview(mmap.mmap(-1, ROW * 8) if table is None else mmap.mmap(table, 0)).cast("d")
        self._row = self._all[worker * ROW : (worker + 1) * ROW]

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self._row[_PLACES[name]] += amount

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge of this worker."""
        self._row[_PLACES[name]] = value

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram."""
        first = _PLACES[name]
        self._row[first + bisect_left(BUCKETS, seconds)] += 1
        self._row[first + WIDTH - 1] += seconds

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an HTTP request, and how long a recommendation took."""
        route = path.removeprefix("/v1/")
        if route not in ROUTES:
            route = "other"
        self.count(f"requests:{route}:{status // 100}xx")
        if route == "recommendations":
            self.observe("stage:total", seconds)

    def answered(self, answer: Answer) -> None:
        """Count a list and the stages of its making."""
        for stage, seconds in answer.stages.items():
            self.observe(f"stage:{stage}", seconds)
        self.count(f"lists:{answer.fallback or 'none'}")
        if answer.unknown_items:
            self.count("unknown_items", answer.unknown_items)
        if answer.unknown_values:
            self.count("unknown_values", answer.unknown_values)

    def events(self, events: Sequence[Event], outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count events, how long they took to become durable, and how old they were then."""
        now = time.time_ns() // 1000
        for event, outcome in zip(events, outcomes, strict=True):
            self.count(f"events:{outcome.status}")
            if event.time is not None and outcome.status == "stored":
                self.observe("event_lag", max(0, now - event.time) / 1e6)
        self.observe("event_commit", seconds)

    def value(self, name: str) -> float:
        """A counter or gauge, added up over the workers."""
        return sum(self._all[_PLACES[name] :: ROW])

    def histogram(self, name: str) -> tuple[list[float], float]:
        """Counts of the buckets (the last: above all edges) and the sum in seconds, added up over the workers."""
        first = _PLACES[name]
        parts = [sum(self._all[first + place :: ROW]) for place in range(WIDTH)]
        return parts[:-1], parts[-1]

    def exposition(self, store: EventStore) -> bytes:
        """All metrics in Prometheus' text format; without those that the store keeps while it can't be read."""
        since = time.time_ns() // 1000 - int(CLICK_HOURS * 3_600e6)
        kept: tuple[Deployment, Clicks] | None = None
        with suppress(StoreError):  # the very time when somebody looks at the counts
            kept = store.deployment(), store.click_through(since)
        registry = CollectorRegistry()
        registry.register(_Collector(self, kept))
        return generate_latest(registry)


class _Collector:
    def __init__(self, metrics: Metrics, kept: tuple[Deployment, Clicks] | None) -> None:
        self._metrics, self._kept = metrics, kept

    def collect(self) -> list[Metric]:
        """Everything, as prometheus_client wants it."""
        store = GaugeMetricFamily("onward_store_up", "1 while the event store can be read.")
        store.add_metric([], 0 if self._kept is None else 1)
        counted = [*self._histograms(), *self._counters(), *self._gauges(), store]
        return counted if self._kept is None else [*counted, *_models(self._kept[0]), *_clicks(self._kept[1])]

    def _histograms(self) -> list[HistogramMetricFamily]:
        stages = HistogramMetricFamily(
            "onward_recommendation_seconds", "Time of a recommendation by stage.", labels=["stage"]
        )
        for stage in STAGES:
            stages.add_metric([stage], *self._cumulated(f"stage:{stage}"))
        commit = HistogramMetricFamily("onward_event_commit_seconds", "Time until events are durable.")
        commit.add_metric([], *self._cumulated("event_commit"))
        lag = HistogramMetricFamily("onward_event_lag_seconds", "Age of events, by their own time, when durable.")
        lag.add_metric([], *self._cumulated("event_lag"))
        return [stages, commit, lag]

    def _cumulated(self, name: str) -> tuple[list[tuple[str, float]], float]:
        counts, total = self._metrics.histogram(name)
        buckets, below = [], 0.0
        for edge, number in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
            below += number
            buckets.append((edge, below))
        return buckets, total

    def _counters(self) -> list[CounterMetricFamily]:
        value = self._metrics.value
        requests = CounterMetricFamily("onward_requests", "HTTP requests.", labels=["route", "status"])
        for route in ROUTES:
            for status in STATUSES:
                requests.add_metric([route, status], value(f"requests:{route}:{status}"))
        events = CounterMetricFamily("onward_events", "Events by what became of them.", labels=["outcome"])
        for outcome in OUTCOMES:
            events.add_metric([outcome], value(f"events:{outcome}"))
        lists = CounterMetricFamily("onward_lists", "Lists by what filled them.", labels=["fallback"])
        for fallback in FALLBACKS:
            lists.add_metric([fallback], value(f"lists:{fallback}"))
        unknown = CounterMetricFamily("onward_unknown_items", "Events of histories that the model didn't know.")
        unknown.add_metric([], value("unknown_items"))
        values = CounterMetricFamily(
            "onward_unknown_values", "Features of events and requests with a value that training didn't have."
        )
        values.add_metric([], value("unknown_values"))
        refused = CounterMetricFamily("onward_connections_closed", "Connections closed by limits.", labels=["reason"])
        refused.add_metric(["refused"], value("connections_refused"))
        refused.add_metric(["slow"], value("connections_slow"))
        return [requests, events, lists, unknown, values, refused]

    def _gauges(self) -> list[GaugeMetricFamily]:
        queue = GaugeMetricFamily("onward_queue", "Requests that wait, over all workers.")
        queue.add_metric([], self._metrics.value("queue"))
        connections = GaugeMetricFamily("onward_connections", "Open connections, over all workers.")
        connections.add_metric([], self._metrics.value("connections"))
        share = GaugeMetricFamily("onward_fallback_share", "Share of all lists that fell back, since the start.")
        lists = {fallback: self._metrics.value(f"lists:{fallback}") for fallback in FALLBACKS}
        share.add_metric([], 1 - lists["none"] / max(1.0, sum(lists.values())) if any(lists.values()) else 0.0)
        return [queue, connections, share]


def _models(deployment: Deployment) -> list[GaugeMetricFamily]:
    model = GaugeMetricFamily("onward_model", "1 for the model that serves.", labels=["model"])
    if deployment.active is not None:
        model.add_metric([deployment.active], 1)
    generation = GaugeMetricFamily("onward_generation", "Generation of the deployment.")
    generation.add_metric([], deployment.generation)
    return [model, generation]


def _clicks(found: Clicks) -> list[GaugeMetricFamily]:
    families = []
    for name, said in (("lists", "Lists logged"), ("shown", "Lists shown"), ("clicks", "Clicks on lists")):
        family = GaugeMetricFamily(f"onward_click_{name}", f"{said}, last 24 hours.", labels=["model"])
        for model in found.models:
            family.add_metric([model.model], getattr(model, name))
        families.append(family)
    unattributed = GaugeMetricFamily("onward_clicks_unattributed", "Clicks on no logged list, last 24 hours.")
    unattributed.add_metric([], found.unattributed)
    return [*families, unattributed]
