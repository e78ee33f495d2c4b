"""What the report's page shows, as plain values: one panel a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onward.evaluate import report_parts as parts
from onward.evaluate import report_text as text
from onward.evaluate import report_verdict as verdict
from onward.evaluate.compare import Comparison
from onward.evaluate.report_costs import cost_card
from onward.evaluate.report_examples import OTHERS
from onward.evaluate.report_facts import RunFacts, commands
from onward.evaluate.report_material import Material
from onward.evaluate.report_ranks import rank_histogram

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
    "costs": "Quality and cost",
    "calibration": "Calibration",
    "curves": "Learning curves",
    "ranks": "Ranks",
    "slices": "Where each wins",
    "examples": "Examples",
    "lists": "Lists",
    "audit": "Audit",
    "protocol": "Protocol",
    "reproduce": "Reproduce",
}
OPTIONAL = ("tests", "calibration", "curves", "slices", "examples", "lists")


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    panels: list[dict[str, Any]]


def build_page(comparisons: Sequence[Comparison], facts: Mapping[str, RunFacts], materials: Sequence[Material]) -> Page:
    """The page of one comparison or several, each with its material; a model has one colour on all of it.

    `facts` by path of the run.
    """
    labels = list(dict.fromkeys(row.label for comparison in comparisons for row in comparison.rows))
    series = {label: number % SERIES for number, label in enumerate(labels)}
    panels = [
        _panel(comparison, facts, series, material) | {"id": f"c{number}"}
        for number, (comparison, material) in enumerate(zip(comparisons, materials, strict=True), 1)
    ]
    first = facts[comparisons[0].rows[0].path]
    subject = labels[0] if len(labels) == 1 else f"{len(labels)} models"
    subtitle = f"{first.events:,} events of {first.users:,} users on {first.items:,} items"
    if first.time_min is not None and first.time_max is not None:
        subtitle += f", {text.day(first.time_min)} to {text.day(first.time_max)}"
    return Page(f"{subject} on {first.dataset_name}", subtitle, panels)


def _panel(
    comparison: Comparison, facts: Mapping[str, RunFacts], series: Mapping[str, int], material: Material
) -> dict[str, Any]:
    rows = comparison.rows
    metrics = list(dict.fromkeys(name for row in rows for name in row.evaluation.metrics))
    interest = verdict.predicts_interest(comparison)
    main = verdict.INTEREST if interest else comparison.metric
    curves, losses = parts.curves(comparison, main), parts.losses(comparison)
    split, headline = comparison.protocol["split"], verdict.headline(comparison)
    panel: dict[str, Any] = {
        "title": "Predicting how much each item is liked" if interest else PROTOCOLS.get(split, split),
        "badge": f"protocol {split} · {comparison.part} part",
        "lede": verdict.lede(comparison, main),
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
                "losses": losses[row.label],
                "settings": facts[row.path].settings,
                "rows": parts.training_rows(row),
            }
            for index, row in enumerate(rows)
        ],
        "metrics": metrics,
        "meanings": {name: text.metric_meaning(name) for name in metrics},
        "main": main,
        "lower": text.lower_is_better(main),
        "ranking": comparison.metric,
        "headline": headline,
        "by_user": [name for name in headline if any(name in row.evaluation.user_metrics for row in rows)],
        "best": {name: verdict.best([row.evaluation.metrics.get(name) for row in rows], name) for name in metrics},
        "baseline": comparison.baseline,
        "seeds": [
            {"model": index, "seed": one.seed, "metrics": one.metrics}
            for index, row in enumerate(rows)
            for one in row.seeds
        ],
        "tests": verdict.tests(comparison),
        "tested": verdict.tested(comparison),
        "detectable": verdict.detectable(comparison),
        "costs": _costs(comparison, material, main),
        "calibration": parts.calibration(comparison, material.confidence),
        "curves": main if any(curves.values()) else None,
        "losses": any(losses.values()),
        "ranks": rank_histogram([row.evaluation.table for row in rows], comparison.protocol["candidate_items"]),
        "slices": [*parts.slices(comparison), *material.slices],
        "missing": material.missing,
        "examples": material.examples,
        "pairs": [f"{rows[0].label} against {row.label}" for row in rows[1 : OTHERS + 1]],
        "lists": parts.lists(rows, comparison.metric),
        "audit": comparison.audit,
        "protocol": parts.protocol(comparison.protocol),
        "counts": parts.counts(rows),
        "commands": commands([(row.path, facts[row.path], len(row.seeds)) for row in rows], comparison.part),
    }
    panel["sections"] = [(key, label) for key, label in SECTIONS.items() if key not in OPTIONAL or panel[key]]
    return panel


def _costs(comparison: Comparison, material: Material, main: str) -> dict[str, Any]:
    sign = -1 if text.lower_is_better(main) else 1
    quality = [sign * row.evaluation.metrics[main].value for row in comparison.rows]
    timed = max((cost.lists for cost in material.costs), default=0)
    return cost_card(material.costs, quality) | {"timed": timed}
