"""What the report's page shows, as plain values: one panel a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onward.evaluate import report_parts as parts
from onward.evaluate import report_text as text
from onward.evaluate.compare import Comparison
from onward.evaluate.report_facts import RunFacts, commands

SERIES = 8
"""Colours of the style sheet."""
PROTOCOLS = {
    "last": "Predicting each user's last event",
    "time": "Predicting everything after a moment in time",
    "users": "Predicting for users held out",
}
SECTIONS = {
    "results": "Results",
    "tests": "Paired tests",
    "calibration": "Calibration",
    "curves": "Learning curves",
    "slices": "Where each wins",
    "lists": "Lists",
    "audit": "Audit",
    "protocol": "Protocol",
    "reproduce": "Reproduce",
}
OPTIONAL = ("tests", "calibration", "curves", "slices", "lists")


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    panels: list[dict[str, Any]]


def build_page(comparisons: Sequence[Comparison], facts: Mapping[str, RunFacts]) -> Page:
    """The page of one comparison or several; `facts` by path of the run. A model has one colour on all of it."""
    labels = list(dict.fromkeys(row.label for comparison in comparisons for row in comparison.rows))
    series = {label: number % SERIES for number, label in enumerate(labels)}
    panels = [
        _panel(comparison, facts, series) | {"id": f"c{number}"} for number, comparison in enumerate(comparisons, 1)
    ]
    first = facts[comparisons[0].rows[0].path]
    subject = labels[0] if len(labels) == 1 else f"{len(labels)} models"
    subtitle = f"{first.events:,} events of {first.users:,} users on {first.items:,} items"
    if first.time_min is not None and first.time_max is not None:
        subtitle += f", {text.day(first.time_min)} to {text.day(first.time_max)}"
    return Page(f"{subject} on {first.dataset_name}", subtitle, panels)


def _panel(comparison: Comparison, facts: Mapping[str, RunFacts], series: Mapping[str, int]) -> dict[str, Any]:
    rows = comparison.rows
    metrics = list(dict.fromkeys(name for row in rows for name in row.evaluation.metrics))
    interest = parts.predicts_interest(comparison)
    main = parts.INTEREST if interest else comparison.metric
    curves = parts.curves(comparison, main)
    split = comparison.protocol["split"]
    panel: dict[str, Any] = {
        "title": "Predicting how much each item is liked" if interest else PROTOCOLS.get(split, split),
        "badge": f"protocol {split} · {comparison.part} part",
        "lede": parts.lede(comparison, main),
        "facts": parts.facts(comparison, facts[rows[0].path]),
        "models": [
            {
                "index": index,
                "label": row.label,
                "series": series[row.label],
                "metrics": {name: estimate.model_dump() for name, estimate in row.evaluation.metrics.items()},
                "user_metrics": {name: estimate.model_dump() for name, estimate in row.evaluation.user_metrics.items()},
                "seconds": row.training.get("seconds"),
                "parameters": row.training.get("parameters"),
                "speed": row.events_per_second,
                "fitted": row.training.get("best_epoch") is None,
                "curve": curves[row.label],
                "settings": facts[row.path].settings,
                "rows": parts.training_rows(row),
            }
            for index, row in enumerate(rows)
        ],
        "metrics": metrics,
        "meanings": {name: text.metric_meaning(name) for name in metrics},
        "main": main,
        "ranking": comparison.metric,
        "headline": parts.headline(comparison),
        "best": {name: parts.best([row.evaluation.metrics.get(name) for row in rows], name) for name in metrics},
        "baseline": comparison.baseline,
        "tests": parts.tests(comparison),
        "calibration": parts.calibration(comparison),
        "curves": main if any(curves.values()) else None,
        "slices": parts.slices(comparison),
        "lists": parts.lists(rows, comparison.metric),
        "audit": comparison.audit,
        "protocol": parts.protocol(comparison.protocol),
        "counts": parts.counts(rows),
        "commands": commands([(row.path, facts[row.path], len(row.seeds)) for row in rows], comparison.part),
    }
    panel["sections"] = [(key, label) for key, label in SECTIONS.items() if key not in OPTIONAL or panel[key]]
    return panel
