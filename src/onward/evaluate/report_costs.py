"""The cost card: what each model costs beside what it is worth, and which models no other beats in both.

Training time, parameters and peak memory are what the training recorded. The time of one list and the size of the
weights are measured here, one model after the other on the machine that writes the report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from onward.data.sequences import Histories
from onward.models.base import Recommender
from onward.progress import OnStep, silent

LISTS = 200
"""Lists that are timed."""
FEWEST = 100
"""Lists from which on a 99th percentile is stated."""
WARM = 5
"""Lists made before, which aren't timed: the first ones pay for caches and compiled kernels."""
SECONDS = 10.0
"""Time that a model is given for its lists."""
COSTS = {
    "training_seconds": ("Training", "Training time, seconds"),
    "parameters": ("Parameters", "Parameters"),
    "p99_ms": ("p99 of a list", "Time of one list, p99, ms"),
    "weights_mib": ("Weights", "Weights in memory, MiB"),
    "peak_mib": ("Peak memory", "Peak memory of training, MiB"),
}
"""Costs by key: heading of the column, and name of the axis."""


@dataclass(frozen=True)
class Cost:
    """What one model costs; None where it isn't known.

    Attributes:
        training_seconds: of its training, where it ran then.
        parameters: numbers that it learned.
        median_ms, p99_ms: time of one list of ten for one history, in this process, milliseconds.
        lists: lists that were timed.
        weights_mib: everything that it learned, in memory, MiB.
        peak_mib: the most memory of its training's process, MiB.
    """

    training_seconds: float | None = None
    parameters: int | None = None
    median_ms: float | None = None
    p99_ms: float | None = None
    lists: int = 0
    weights_mib: float | None = None
    peak_mib: float | None = None


def recorded(training: Mapping[str, Any]) -> Cost:
    """What the training wrote into the manifest."""
    peak = training.get("peak_memory")
    return Cost(training.get("seconds"), training.get("parameters"), peak_mib=None if peak is None else peak / 2**20)


def measured(
    model: Recommender,
    requests: Histories,
    seen: Literal["exclude", "include"],
    training: Mapping[str, Any],
    on_list: OnStep = silent,
) -> Cost:
    """The same, with the time of a list and the size of the weights.

    Args:
        requests: (R,) at least one; taken in turn, each alone, as a visitor of a site would come.
        on_list: progress of the lists that are timed, which may end before the last.
    """
    for number in range(WARM):
        _list(model, requests, number, seen)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < LISTS and time.perf_counter() - started < SECONDS:
        begun = time.perf_counter()
        _list(model, requests, len(times), seen)
        times.append(1000 * (time.perf_counter() - begun))
        on_list(len(times), LISTS)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state().values())
    known = asdict(recorded(training)) | {
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.quantile(times, 0.99, method="higher")) if len(times) >= FEWEST else None,
        "lists": len(times),
        "weights_mib": weights / 2**20,
    }
    return Cost(**known)


def _list(model: Recommender, requests: Histories, number: int, seen: Literal["exclude", "include"]) -> None:
    row = number % len(requests)
    model.recommend(requests.select(slice(row, row + 1)), 10, seen=seen)


def frontier(costs: Sequence[float | None], quality: Sequence[float | None]) -> list[bool]:
    """Which models no other beats: none is at least as cheap and at least as good, and better in one of the two.

    Args:
        costs: lower is better. quality: higher is better. A model that lacks one of the two is not on the frontier.
    """
    points = list(zip(costs, quality, strict=True))
    return [
        cost is not None
        and value is not None
        and not any(
            other is not None
            and theirs is not None
            and other <= cost
            and theirs >= value
            and (other < cost or theirs > value)
            for other, theirs in points
        )
        for cost, value in points
    ]


def cost_card(costs: Sequence[Cost], quality: Sequence[float | None]) -> dict[str, Any]:
    """The section's values: the axes that at least one model has a value for, and every model's costs by axis.

    `frontier` holds for each model the headings of the costs for which no other model beats it.
    """
    axes = [key for key in COSTS if any(getattr(cost, key) is not None for cost in costs)]
    best = {key: frontier([getattr(cost, key) for cost in costs], quality) for key in axes}
    return {
        "axes": [{"key": key, "short": COSTS[key][0], "label": COSTS[key][1]} for key in axes],
        "models": [asdict(cost) for cost in costs],
        "frontier": [[COSTS[key][0] for key in axes if best[key][index]] for index in range(len(costs))],
    }
