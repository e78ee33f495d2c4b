"""The pieces of one panel of the report, each from a comparison to plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onward.evaluate import report_text as text
from onward.evaluate.compare import Comparison, Row
from onward.evaluate.report_facts import RunFacts
from onward.evaluate.report_verdict import best, predicts_interest
from onward.evaluate.results import Estimate, SliceRow

POINTS = 200
"""Points of a long curve; fewer than twice as many in any case."""


def facts(comparison: Comparison, run: RunFacts) -> list[dict[str, str]]:
    """The figures at the top of a panel."""
    evaluation = comparison.rows[0].evaluation
    counts, protocol = evaluation.counts, comparison.protocol
    cold, targets = counts.get("cold_targets", 0), counts.get("targets", evaluation.requests)
    seen = {"exclude": ("excluded", "never listed again"), "include": ("included", "may be listed again")}
    shown = [
        (
            "Trained on",
            f"{run.training_events:,}",
            "events" + (", validation included" if protocol.get("refit") else ""),
        ),
        ("Predicted", f"{evaluation.requests:,}", f"requests of {evaluation.users:,} users"),
        ("Ranked", f"{protocol.get('candidate_items', run.items):,}", "items each, none sampled"),
        ("Seen items", *seen[protocol["seen"]]),
        ("Cold targets", text.percent(cold / targets if targets else None), f"{cold:,}, counted as misses"),
    ]
    if protocol.get("cold") == "drop":
        shown[-1] = ("Cold targets", "dropped", f"{counts.get('dropped_cold_targets', 0):,} left out of the means")
    if predicts_interest(comparison):
        shown.insert(2, ("Values", f"{counts.get('interest_pairs', 0):,}", "compared with what was predicted"))
    return [{"label": label, "value": value, "note": note} for label, value, note in shown]


def curves(comparison: Comparison, metric: str) -> dict[str, list[dict[str, Any]]]:
    """Label -> points of a metric of the validation part over time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in comparison.rows:
        lines = [line for line in comparison.curves.get(row.label, []) if line.get("kind") == "validation"]
        kept = row.training.get("best_epoch")
        found[row.label] = _thinned(
            [
                {
                    "epoch": line.get("epoch", 0),
                    "seconds": line.get("seconds", 0.0),
                    "value": line[metric],
                    "kept": kept is not None and line.get("epoch") == kept,
                }
                for line in lines
                if metric in line
            ]
        )
    return found


def losses(comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Label -> points of the training loss over time; none of a model that is fitted in one call."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in comparison.rows:
        lines = [line for line in comparison.curves.get(row.label, []) if line.get("kind") == "train"]
        found[row.label] = _thinned(
            [
                {"epoch": line["epoch"], "seconds": line["seconds"], "value": line["loss"], "kept": False}
                for line in lines
                if {"epoch", "seconds", "loss"} <= line.keys()
            ]
        )
    return found


def _thinned(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """About `POINTS` of them, the last one and the one that was kept among them."""
    every = max(1, len(points) // POINTS)
    last = len(points) - 1
    return [point for place, point in enumerate(points) if (last - place) % every == 0 or point["kept"]]


CALIBRATIONS = {
    "interest": (
        "Observed interest where so much was predicted",
        "Predictions in ten groups of equal size, from the lowest to the highest; a group is a point at its mean "
        "prediction and at the mean of what was observed. On the dashed line the two agree; below it too much was "
        "promised.",
        "Pairs",
    ),
    "lists": (
        "How often lists of ten were right where the model was so sure",
        "The probabilities that a model gives to the ten items of a list, added up, say how sure it is that the list "
        "holds what comes next. Requests in ten groups of equal size by that, up to 2,000 of them; a point stands at "
        "a group's mean, and at the share of its lists that were right. Below the dashed line a model is too sure. "
        "Models whose scores are no probabilities are left out.",
        "Requests",
    ),
}
"""By kind: caption, hint, and what a point's numbers are of."""


def calibration(comparison: Comparison, confidence: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The calibration curves that there are, each with every model's points; none of a model that has none.

    Args:
        confidence: the points of each model's lists (`report_confidence`).
    """
    interest = [[one.model_dump() for one in row.evaluation.calibration] for row in comparison.rows]
    return [
        {"key": key, "title": CALIBRATIONS[key][0], "hint": CALIBRATIONS[key][1], "unit": CALIBRATIONS[key][2]}
        | {"points": points}
        for key, points in (("interest", interest), ("lists", confidence))
        if any(points)
    ]


SLICES = {
    "history_length": (
        "by length of the history",
        "Events in history",
        "How many events of the user the model could read. Short histories are the newcomers of a site.",
    ),
    "target_popularity": (
        "by popularity of the target",
        "Popularity",
        "Head: the most frequent items, a third of the training events; middle: the next third; tail: the rest; "
        "cold: never trained on.",
    ),
    "target_action": (
        "by action of the target",
        "Action",
        "What the user did next; several: a basket in which more than one action is to be predicted.",
    ),
}


def slices(comparison: Comparison) -> list[dict[str, Any]]:
    """The main metric by bucket, every model in each, and who wins where."""
    made = []
    for key, (title, column, hint) in SLICES.items():
        reference = comparison.rows[0].evaluation.slices.get(key, [])
        buckets = [_bucket(comparison, key, row) for row in reference]
        if buckets:
            made.append(
                {"key": key, "title": title, "column": column, "hint": hint, "buckets": buckets}
                | {"winners": winners(comparison.rows, buckets)}
            )
    return made


def _bucket(comparison: Comparison, key: str, reference: SliceRow) -> dict[str, Any]:
    estimates: list[Estimate | None] = []
    for row in comparison.rows:
        same = (bucket for bucket in row.evaluation.slices.get(key, []) if bucket.label == reference.label)
        bucket = next(same, None)
        estimates.append(bucket.metrics.get(comparison.metric) if bucket else None)
    return {
        "label": reference.label.replace("-", "–"),
        "requests": reference.requests,
        "users": reference.users,
        "estimates": [estimate.model_dump() if estimate else None for estimate in estimates],
        "best": best(estimates, comparison.metric),
    }


def winners(rows: Sequence[Row], buckets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Models with the labels of the buckets that they are best in."""
    won: dict[int, list[str]] = {}
    for bucket in buckets:
        if bucket["best"] is not None:
            won.setdefault(bucket["best"], []).append(bucket["label"])
    return [{"model": index, "buckets": won[index]} for index in range(len(rows)) if index in won]


def lists(rows: Sequence[Row], main: str) -> list[dict[str, Any]]:
    """Properties of the recommended lists, a row each; `main` are those at the cut-off of the main metric."""
    names = list(dict.fromkeys(name for row in rows for name in row.evaluation.lists))
    order = {base: place for place, base in enumerate(text.LISTS)}
    names.sort(key=lambda name: order.get(name.partition("@")[0], len(order)))  # stable: cut-offs stay in order
    feature = rows[0].evaluation.diversity_feature
    made = []
    for name in names:
        label, meaning = text.list_name(name, feature)
        values = [row.evaluation.lists.get(name) for row in rows]
        is_main = name.partition("@")[2] == main.partition("@")[2]
        made.append({"label": label, "meaning": meaning, "main": is_main, "values": values})
    return made


def counts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What must be known beside the means, a row each."""
    names = list(dict.fromkeys(name for row in rows for name in row.evaluation.counts))
    return [
        {
            "label": name.replace("_", " ").capitalize(),
            "values": [row.evaluation.counts.get(name) for row in rows],
        }
        for name in names
    ]


def training_rows(row: Row) -> list[str]:
    """Windows, augmentation and contrast of a model's training rows."""
    if row.training_rows is None:
        return ["whole histories, fitted in one call", "none", "none"]
    made = row.training_rows
    return [made.windows, made.augmentation, made.contrast]


PROTOCOL_NOTES = {
    "split": "How training and test were divided.",
    "refit": "Whether the models were trained again on training and validation together.",
    "dataset": "Content hash of the dataset.",
    "external": "Whether this data is another than that of the training.",
    "candidates": "What is ranked.",
    "seen": "Whether items of the history may be recommended again.",
    "cold": "What a target that training never saw counts as.",
    "ties": "How a target is ranked whose score others share.",
    "request_time": "What a model is told about when its answer is wanted: nothing, or the time of the target.",
    "threshold": "Interest from which on an item counts as liked.",
}


def protocol(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every field of the protocol, with what it means."""
    shown = []
    for name, value in fields.items():
        note = PROTOCOL_NOTES.get(name, "")
        if name.endswith("_from") and isinstance(value, int):
            note = f"{text.moment(value)}, in microseconds"
        plain = ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
        shown.append({"name": name, "value": plain.lower() if isinstance(value, bool) else plain, "note": note})
    return shown
