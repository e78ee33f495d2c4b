"""The model card: a bundle's README.md, made from its manifest and configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from onward.config import RunConfig
from onward.data.times import describe
from onward.manifest import BundleManifest, Measurement
from onward.training_rows import training_rows

_PROTOCOLS = {
    "last": "`last`: the last event of each user is the test, the one before it the validation",
    "time": "`time`: events before a cut train; later events are predicted",
    "users": "`users`: users held out whole are predicted",
    "all": "`all`: trained on every event; nothing was kept for a test",
}


def model_card(manifest: BundleManifest, config: RunConfig) -> str:
    """The card as Markdown."""
    sections = [
        f"# {manifest.model}: a recommender made with Onward",
        "Given what a user did, oldest first, it ranks what comes next. It needs a history, not a known user.",
        "## Trained on\n\n" + _data(manifest),
        "## Measured\n\n" + _metrics(manifest),
        "## Training\n\n" + _table({**_rows(config), **manifest.training, "seed": config.seed}),
        *_lineage(manifest),
        "## Settings\n\n" + _table({key: value for key, value in config.model.items() if key != "name"}),
        "## Privacy\n\n" + _privacy(manifest),
        "## Use\n\n" + _use(),
        "## Written by\n\n" + ", ".join(f"{name} {version}" for name, version in manifest.packages.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _data(manifest: BundleManifest) -> str:
    data = manifest.data
    facts = {
        "data set (SHA-256)": f"`{manifest.dataset}`",
        "made from": ", ".join(f"`{source}`" for source in data.sources) or "not recorded",
        "users": f"{data.users:,}",
        "items": f"{manifest.items:,}",
        "events": f"{data.events:,}, of which {data.training_events:,} trained the model",
    }
    if data.time_min is not None and data.time_max is not None:
        facts["time"] = f"{_day(data.time_min)} to {_day(data.time_max)}"
    facts["protocol"] = _PROTOCOLS[manifest.split.protocol] + (
        "; trained again on training + validation" if manifest.split.refit else ""
    )
    facts["items of the history"] = "may be recommended again" if manifest.seen == "include" else "aren't recommended"
    return _table(facts)


def _lineage(manifest: BundleManifest) -> list[str]:
    """The section of a version that an update wrote."""
    if manifest.lineage is None:
        return []
    lineage, gate = manifest.lineage, manifest.lineage.gate
    current, candidate, difference = gate["current"]["ndcg@10"], gate["candidate"]["ndcg@10"], gate["difference"]
    facts = {
        "version before it": f"`{lineage.previous}`, weights `{lineage.ancestors[-1]}`",
        "generations": len(lineage.ancestors),
        "new events since": f"{describe(lineage.plan['since'])} UTC",
        "the gate predicted": f"{gate['requests']:,} requests since {describe(lineage.plan['held_out_from'])} UTC",
        "NDCG@10 of the version before": current["value"],
        "NDCG@10 of the candidate": candidate["value"],
        "difference, 95% interval": f"{difference['low']:+.4f} to {difference['high']:+.4f}",
    }
    said = (
        "The candidate was trained without what the gate predicted; then this version was made in the same way of all."
    )
    return ["## Lineage\n\n" + _table(facts) + "\n\n" + said]


def _rows(config: RunConfig) -> dict[str, str]:
    rows = training_rows(config)
    if rows is None:
        return {}
    return {"windows": rows.windows, "augmentation": rows.augmentation, "contrast": rows.contrast}


def _metrics(manifest: BundleManifest) -> str:
    if not manifest.metrics:
        return "Not yet: `onward evaluate` measures it."
    return "\n\n".join(_measurement(entry) for entry in manifest.metrics)


def _measurement(entry: Measurement) -> str:
    rows = ["| metric | value | 95% interval |", "|---|---|---|"]
    for name, value in entry.values.items():
        if isinstance(value, Mapping):
            low, high = value.get("low"), value.get("high")
            interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
            rows.append(f"| {name} | {_number(value.get('value'))} | {interval} |")
        else:
            rows.append(f"| {name} | {_number(value)} | |")
    protocol = "; ".join(f"{key}: {_setting(key, value)}" for key, value in entry.protocol.items())
    return f"On the {entry.part} part ({protocol}):\n\n" + "\n".join(rows)


def _setting(name: str, value: object) -> str:
    if name.endswith("_from") and isinstance(value, int):  # a cut in time
        return f"{describe(value)} UTC"
    return str(value)


def _privacy(manifest: BundleManifest) -> str:
    if manifest.holds_user_rows:
        return (
            "The bundle **holds rows of training users**: which items each had, or who is a friend of whom "
            "(`links.parquet`). To forget a user, train again without them."
        )
    return "The weights hold no rows of users. Histories are given with each request and aren't kept."


def _use() -> str:
    return (
        "```\n"
        'onward recommend . --history "ITEM, ITEM"\n'
        "```\n\n"
        "```python\n"
        "import onward\n\n"
        'print(onward.recommend(".", history=["ITEM", "ITEM"], k=10))\n'
        "```\n\n"
        "Loading verifies every file's hash and runs nothing from this folder."
    )


def _table(facts: Mapping[str, Any]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {key} | {_number(value)} |" for key, value in facts.items() if value is not None)]
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d")
