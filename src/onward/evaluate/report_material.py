"""What a report shows beside the comparison itself, read from the dataset and the models."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onward.bundle import load_bundle
from onward.data.sequences import Ints
from onward.errors import ConfigError, OnwardError
from onward.evaluate.compare import Comparison
from onward.evaluate.report_confidence import confidence
from onward.evaluate.report_costs import LISTS, Cost, measured, recorded
from onward.evaluate.report_examples import LISTED, choose, show
from onward.evaluate.report_requests import find_requests
from onward.evaluate.report_slices import groupings, slices
from onward.models.features.attach import histories_for
from onward.progress import OnStep, silent

EXAMPLES = 3
"""Requests shown for each heading."""


@dataclass(frozen=True)
class Material:
    """What was found.

    Attributes:
        costs: of each row, in the comparison's order.
        confidence: of each row, the points of its calibration curve (`report_confidence`); empty where there are none.
        slices: as `report_parts.slices` gives them.
        examples: headings with their requests (`report_examples.show`).
        missing: why slices, times and examples aren't there; empty when they are.
    """

    costs: list[Cost]
    confidence: list[list[dict[str, Any]]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    missing: str = ""


def gather(
    comparison: Comparison,
    dataset: str | Path | None = None,
    examples: int = EXAMPLES,
    seed: int = 0,
    on_step: OnStep = silent,
) -> Material:
    """Find the requests again, slice them, and let every model answer some: a sample timed, the examples shown.

    What can't be had, because the dataset has moved or the evaluation was of other requests, is left out and said.

    Args:
        dataset: where it is; by default where it was at the training.
        examples: requests to show for each heading.
        seed: of the requests that are timed, and of those that are calibrated.
        on_step: progress of the lists that are timed, of all models together.

    Raises:
        ConfigError: a negative number of examples.
    """
    if examples < 0:
        raise ConfigError(f"examples = {examples}: their number can't be negative", "0 leaves them out")
    rows = comparison.rows
    costs = [recorded(row.training) for row in rows]
    try:
        asked = find_requests(comparison, load_bundle(rows[0].run), dataset)
    except OnwardError as error:
        return Material(costs, missing=str(error).partition("\n")[0])
    counts = asked.split.training(asked.data).item_counts()
    shown = choose(comparison, examples, counts, asked, seed)
    lists: list[dict[int, Ints]] = [{} for _ in shown]
    timed = np.random.default_rng(seed).permutation(len(asked.part))[:LISTS]
    some = asked.part.select(np.sort(timed))
    sure: list[list[dict[str, Any]]] = []

    def so_far(model: int) -> OnStep:
        return lambda done, of: on_step(model * LISTS + done, len(rows) * of)

    for number, row in enumerate(rows):
        on_step(number * LISTS, len(rows) * LISTS)
        bundle = load_bundle(row.run)
        data, seen = histories_for(bundle.model, asked.dataset), comparison.protocol["seen"]
        costs[number] = measured(bundle.model, some.requests(data), seen, row.training, so_far(number))
        sure.append(confidence(bundle.model, data, asked.part, seen, seed))
        for place in [place for place, choice in enumerate(shown) if number in choice.models]:
            request = asked.part.select(np.array([shown[place].row])).requests(data)
            lists[place][number] = bundle.model.recommend(request, LISTED, seen=seen).items[0]
    on_step(len(rows) * LISTS, len(rows) * LISTS)
    curves = sure if any(sure) else []
    return Material(costs, curves, slices(comparison, groupings(asked)), show(comparison, shown, asked, lists))
