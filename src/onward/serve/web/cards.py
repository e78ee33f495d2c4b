"""A model's card for the page: what its bundle's manifest says, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from onward.bundle import bundle_folder, measurements, read_manifest
from onward.config import RunConfig, read_toml
from onward.errors import OnwardError
from onward.evaluate import report_text as text
from onward.evaluate.report_parts import SLICES, protocol
from onward.manifest import BundleManifest, Measurement, Slice

MAIN = "ndcg@10"
PARTS = ("valid", "test")
LEADING = ("ndcg@10", "hr@10", "mrr@10", "ndcg@5", "hr@5", "mse", "accuracy", "f1")
"""Metrics of the chart, where they were measured."""
SPLITS = {
    "last": "each user's last event",
    "time": "everything after a moment in time",
    "users": "users held out",
    "all": "nothing: it trained on every event",
}


@dataclass(frozen=True)
class Card:
    """One model in one line.

    Attributes:
        kind: name of its class of models.
        items: of its catalog.
        metric: that it is compared by, if it was measured.
        value: of that metric.
        manifest: everything else.
        settings: of the model, as its configuration has them.
    """

    kind: str
    items: int
    metric: str | None
    value: float | None
    manifest: BundleManifest
    settings: dict[str, str]


def card(path: Path) -> Card | None:
    """The card of a bundle or run folder; None for one that can't be read."""
    try:
        changed = tuple(file.stat().st_mtime_ns for file in _sources(path) if file.is_file())
        return _read(path, changed)
    except (OSError, OnwardError, ValueError):
        return None


def _sources(path: Path) -> list[Path]:
    """The files that a card is made of: the bundle's manifest and, in a run, its evaluations."""
    run = _run(path)
    return [bundle_folder(path) / "manifest.json", *(run / "evaluation" / part / "metrics.json" for part in PARTS)]


def _run(path: Path) -> Path:
    """The run whose model a bundle is, where it lies in one: evaluations lie beside it. Else the path itself."""
    inside = path.name == "model" and (path.parent / "config.toml").is_file()
    return path.parent if inside else path


@lru_cache(maxsize=64)
def _read(path: Path, _changed: tuple[int, ...]) -> Card:
    folder = bundle_folder(path)
    manifest = read_manifest(folder).model_copy(update={"metrics": measurements(_run(path))})
    measured = next((one for one in _measurements(manifest) if MAIN in one.values), None)
    value = _value(measured.values[MAIN]) if measured else None
    config = RunConfig.parse(read_toml(folder / "config.toml"))
    settings = {name: _plain(value) for name, value in config.model.items() if name != "name"}
    return Card(manifest.model, manifest.items, MAIN if measured else None, value, manifest, settings)


def whole(name: str, found: Card, active: bool, others: list[str]) -> dict[str, Any]:
    """Everything of one model, for the page `model`."""
    manifest = found.manifest
    return {
        "name": name,
        "lede": f"A model of the kind '{manifest.model}' that {'serves now' if active else 'is ready to serve'}. "
        "Given what somebody did, oldest first, it ranks what comes next; it needs a history, not a known user.",
        "others": others,
        "facts": _facts(found),
        "measurements": [_measured(one) for one in _measurements(manifest)],
        "data": _data(manifest),
        "training": _training(manifest),
        "settings": found.settings,
        "privacy": "The model holds rows of training users: to forget a user, train again without them."
        if manifest.holds_user_rows
        else "The weights hold no rows of users. Forgetting a user is a matter of the event store alone.",
    }


def _measurements(manifest: BundleManifest) -> list[Measurement]:
    return sorted(manifest.metrics, key=lambda one: one.part != "test")


def _facts(found: Card) -> list[dict[str, str]]:
    manifest = found.manifest
    parameters = manifest.training.get("parameters")
    facts = [
        ("Model", manifest.model, "what kind it is"),
        ("Items", text.whole(manifest.items), "that it can recommend"),
        ("Trained on", text.whole(manifest.data.training_events), f"of {text.whole(manifest.data.events)} events"),
        ("Training took", text.duration(manifest.training.get("seconds")), ""),
    ]
    if parameters:
        facts.append(("Parameters", text.whole(parameters), "learned numbers"))
    if found.value is not None:
        facts.append((text.metric_name(MAIN), text.fixed(found.value), "see below"))
    return [{"label": label, "value": value, "note": note} for label, value, note in facts]


def _measured(one: Measurement) -> dict[str, Any]:
    names = [name for name in LEADING if name in one.values] or list(one.values)[:8]
    bars = [{"name": text.metric_name(name), **_bar(one.values[name])} for name in names if name != "mse"]
    split = SPLITS.get(str(one.protocol.get("split")), "a part of the log")
    candidates = one.protocol.get("candidate_items")
    among = f"{candidates:,} items, none sampled" if isinstance(candidates, int) else "the whole catalog"
    main = _value(one.values.get(MAIN))
    said = f"{text.metric_name(MAIN)} {text.fixed(main)}. " if main is not None else ""
    asked = f" {text.whole(one.requests)} requests of {text.whole(one.users)} users." if one.requests else ""
    return {
        "part": one.part,
        "lede": f"{said}Predicted: {split}, each among {among}.{asked}",
        "bars": bars,
        "rows": [
            {
                "name": text.metric_name(name),
                "value": value,
                "of_users": one.user_values.get(name),
                "meaning": text.metric_meaning(name),
            }
            for name, value in one.values.items()
        ],
        "by_user": bool(one.user_values),
        "slices": [_slices(key, one.slices[key]) for key in SLICES if one.slices.get(key)],
        "lists": [
            dict(zip(("name", "meaning"), text.list_name(name, one.diversity_feature), strict=True), value=value)
            for name, value in one.lists.items()
        ],
        "counts": [
            {"label": name.replace("_", " ").capitalize(), "value": number} for name, number in one.counts.items()
        ],
        "protocol": protocol(one.protocol),
    }


def _slices(key: str, buckets: list[Slice]) -> dict[str, Any]:
    """One way to divide the requests, its main metric in each bucket."""
    title, column, hint = SLICES[key]
    metric = MAIN if MAIN in buckets[0].metrics else next(iter(buckets[0].metrics))
    rows = [
        {
            "label": bucket.label.replace("-", "–"),
            "requests": bucket.requests,
            "users": bucket.users,
            "value": bucket.metrics[metric],
        }
        for bucket in buckets
    ]
    return {
        "key": key,
        "title": f"{text.metric_name(metric)} {title}",
        "column": column,
        "hint": hint,
        "rows": rows,
        "bars": [{"name": [row["label"], f"{row['requests']:,} req."], **_bar(row["value"])} for row in rows],
    }


def _bar(value: object) -> dict[str, Any]:
    interval = [value["low"], value["high"]] if isinstance(value, Mapping) and "low" in value else None
    return {"value": _value(value), "interval": interval}


def _value(value: object) -> float | None:
    found = value.get("value") if isinstance(value, Mapping) else value
    return float(found) if isinstance(found, int | float) else None


def _data(manifest: BundleManifest) -> list[dict[str, str]]:
    data = manifest.data
    facts = [
        ("Made from", ", ".join(data.sources) or "not recorded"),
        ("Events", f"{data.events:,}, of which {data.training_events:,} trained the model"),
        ("Users", f"{data.users:,}"),
        ("Items", f"{manifest.items:,}"),
    ]
    if data.time_min is not None and data.time_max is not None:
        facts.append(("Time", f"{text.day(data.time_min)} to {text.day(data.time_max)}"))
    again = "may be recommended again" if manifest.seen == "include" else "aren't recommended again"
    facts += [("Items of the history", again), ("Content hash", manifest.dataset)]
    return [{"label": label, "value": value} for label, value in facts]


def _training(manifest: BundleManifest) -> list[dict[str, str]]:
    facts = {
        "Tested on": SPLITS[manifest.split.protocol],
        **dict(_cost(name, value) for name, value in manifest.training.items()),
        "Packages": ", ".join(f"{name} {version}" for name, version in manifest.packages.items()),
    }
    return [{"label": label, "value": value} for label, value in facts.items()]


def _cost(name: str, value: Any) -> tuple[str, str]:
    """What one figure of the training is called, and the figure with its unit."""
    if name == "seconds":
        return "Time", text.duration(value)
    said = text.mebibytes(value / 2**20) if name == "peak_memory" else _plain(value)
    return name.replace("_", " ").capitalize(), said


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
