"""`manifest.json` of a bundle: what the model is, what it learned from, how it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict

from onward.config import Config, SplitConfig
from onward.errors import FormatError

FORMAT = "onward.bundle/1"


class _Written(Config):
    # within a format version fields are only added, so a reader passes over those it doesn't know yet
    model_config = ConfigDict(extra="ignore")


class Slice(_Written):
    """Metrics of one bucket of requests."""

    label: str
    """Which requests."""
    requests: int
    """Their number."""
    users: int
    """Users among them."""
    metrics: dict[str, Any]
    """Metric -> value with its interval."""


class Measurement(_Written):
    """Metrics of one part under one protocol."""

    part: str
    """`valid` or `test`."""
    protocol: dict[str, Any]
    """Everything that decides what the numbers mean."""
    values: dict[str, Any]
    """Metric -> value, with its interval where there is one."""
    users: int | None = None
    """Users with a request; None, as all that follows is empty, in a bundle of before these were kept."""
    requests: int | None = None
    """Requests that were predicted."""
    user_values: dict[str, Any] = {}
    """The metrics averaged within each user first."""
    lists: dict[str, float] = {}
    """Properties of the recommended lists."""
    diversity_feature: str | None = None
    """Item column whose values diversity compares."""
    counts: dict[str, int] = {}
    """What must be known beside the means: cold and seen targets, too short users..."""
    slices: dict[str, list[Slice]] = {}
    """`history_length` and `target_popularity`: the main metrics by bucket."""


class DataFacts(_Written):
    """What the model was trained from, in numbers."""

    users: int
    """Users of the data set."""
    events: int
    """Events of the data set, all parts."""
    training_events: int
    """Events that the model learned from."""
    time_min: int | None = None
    """Earliest event of the data set, microseconds UTC."""
    time_max: int | None = None
    """Latest event of the data set, microseconds UTC."""
    sources: list[str] = []
    """Names of the input files, without their folders."""
    grouped: bool = False
    """Whether events were grouped: a history at serving is made of groups then too."""
    baskets: bool = False
    """Whether the events of one user that name one `group` form a group, and not those of one time."""
    duplicates: Literal["keep", "first", "last", "error"] = "keep"
    """What was done with events of the same user, item, time and action, and is done at serving."""


class Lineage(_Written):
    """Where a version that `onward update` wrote comes from."""

    previous: str
    """Name of the folder of the version before it."""
    ancestors: list[str]
    """SHA-256 of the weights that it went on from, generation by generation, the first one first."""
    plan: dict[str, Any]
    """What decided the update: parent's weights, data, instants, seed and settings."""
    gate: dict[str, Any]
    """What the gate said of the candidate, which was trained without the events that it was measured on."""


class BundleManifest(_Written):
    """`manifest.json`."""

    format: str = FORMAT
    """Format and version of the folder."""
    model: str
    """Name of the model in the registry."""
    dataset: str
    """Content hash of the dataset that was trained on."""
    data: DataFacts
    """Facts of that dataset."""
    parent: str | None = None
    """Hash of the weights that this model continued from; None when trained from nothing."""
    lineage: Lineage | None = None
    """Of a version that `onward update` wrote; None otherwise."""
    items: int
    """Index high-water mark: the largest item index."""
    holds_user_rows: bool
    """Whether the bundle holds rows of training users, in its weights or as links between users: forgetting a user then
    means training again."""
    seen: Literal["exclude", "include"]
    """Whether items of the history may be recommended again, unless asked otherwise."""
    split: SplitConfig
    """What was trained on, validated and tested."""
    training: dict[str, Any]
    """Facts of the training: seconds, parameters, best_epoch..."""
    metrics: list[Measurement] = []
    """What was measured, each with its protocol."""
    packages: dict[str, str]
    """Package -> version that wrote this."""
    files: dict[str, str]
    """File -> SHA-256."""


def bundle_folder(path: str | Path) -> Path:
    """The bundle at a path: the folder itself, or `model/` of a run folder. Raises FormatError when there is none."""
    folder = Path(path)
    for candidate in (folder, folder / "model"):
        if (candidate / "manifest.json").is_file():
            return candidate
    if (folder / "config.toml").is_file():
        raise FormatError(f"run {folder} has no trained model yet", "finish its training: onward train ... --resume")
    if any(folder.glob("seed-*/config.toml")):
        raise FormatError(
            f"{folder} holds runs of several seeds", "name one of them; onward compare takes the folder as one model"
        )
    raise FormatError(f"{folder} is neither a run nor a bundle: it has no manifest.json", "make one with: onward train")
