"""What a report says about a run beside its metrics: its data, its settings, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onward.bundle import bundle_folder, read_manifest
from onward.config import Config, RunConfig, SplitConfig, TrainConfig, dump_toml, read_toml
from onward.data.dataset import Manifest
from onward.data.split import usual_request_time
from onward.errors import ConfigError
from onward.models.registry import model_class


@dataclass(frozen=True)
class RunFacts:
    """One run as its folder tells it.

    Attributes:
        config: the resolved settings.
        sources: names of the input files of its dataset.
        users, events, training_events: counts of that dataset.
        time_min, time_max: first and last event, microseconds UTC, or None.
        dataset: manifest of the dataset, where it is still in its place.
    """

    config: RunConfig
    sources: tuple[str, ...]
    users: int
    items: int
    events: int
    training_events: int
    time_min: int | None
    time_max: int | None
    dataset: Manifest | None = None

    @property
    def dataset_name(self) -> str:
        """What people call the data: the name of its folder, else of its first file."""
        place = Path(self.config.dataset_path).resolve()
        generic = not self.config.dataset_path or place.name in ("dataset", "data")
        first = Path(self.sources[0]).name.split(".")[0] if self.sources else ""
        return (first if generic and first else place.name) or "a dataset"

    @property
    def settings(self) -> str:
        """The resolved settings as TOML."""
        return dump_toml(self.config)


def read_facts(path: str | Path) -> RunFacts:
    """Read them from a run or bundle. Raises FormatError when it isn't one."""
    folder = bundle_folder(path)
    manifest = read_manifest(folder)
    config = RunConfig.parse(read_toml(folder / "config.toml"), str(folder / "config.toml"))
    data = manifest.data
    return RunFacts(
        config,
        tuple(data.sources),
        data.users,
        manifest.items,
        data.events,
        data.training_events,
        data.time_min,
        data.time_max,
        _dataset(config),
    )


def _dataset(config: RunConfig) -> Manifest | None:
    file = Path(config.dataset_path) / "dataset.toml"
    if not file.is_file():
        return None
    try:
        manifest = Manifest.parse(read_toml(file))
    except ConfigError:  # of another version; the report can do without
        return None
    return manifest if manifest.hash == config.dataset else None


def commands(runs: Sequence[tuple[str, RunFacts, int]], part: str) -> list[str]:
    """Shell commands from the input files to this report; `runs` are (path, facts, number of several seeds)."""
    first = runs[0][1]
    dataset = first.config.dataset_path or "dataset"
    lines = prepare_command(first, dataset)
    lines += [train_command(path, one.config, dataset, one.time_min is not None, seeds) for path, one, seeds in runs]
    chosen = "" if part == "test" else f" --part {part}"
    alone = len(runs) == 1 and not runs[0][2]  # several seeds of one model are compared
    ends = "evaluate" if alone else "compare"
    lines.append(f"onward {ends} {shlex.join(path for path, *_ in runs)}{chosen} -o report.html")
    return lines


def prepare_command(facts: RunFacts, dataset: str) -> list[str]:
    """The command that prepares the dataset again, as far as its manifest tells, with a remark above it."""
    if not facts.sources:
        return []
    words = ["onward", "prepare", *facts.sources, "-o", dataset]
    remark = f"# gives dataset {facts.config.dataset[:12]}"
    if facts.dataset is not None:
        made = facts.dataset
        for role in ("user", "item", "time", "action", "value", "group"):
            words += [f"--{role}", made.roles[role]] if role in made.roles else []
        if "group" in made.columns and "group" not in made.roles:
            words.append("--group-ties")
        words += ["--duplicates", made.duplicates] if made.duplicates != "keep" else []
        for name, number in made.filters.items():
            words += [f"--{name.replace('_', '-')}", str(number)]
        if made.item_features or made.user_features:
            remark += "; the tables of item and user features belong to it (--items, --users)"
    return [remark, shlex.join(words)]


def train_command(path: str, config: RunConfig, dataset: str, timed: bool = True, seeds: int = 0) -> str:
    """The command that trains this run again; settings at their defaults are left out.

    Args:
        timed: whether the data has times.
        seeds: number of runs that differ in their seed alone, of which this is the first; 0 for a run by itself.
    """
    name = str(config.model.get("name", ""))
    words = ["onward", "train", dataset, "--model", name, "-o", path, "--protocol", config.split.protocol]
    words += ["--refit"] if config.split.refit else []
    words += ["--seed", str(config.seed)] if config.seed else []
    words += ["--seeds", str(seeds)] if seeds else []
    shares = {"valid_share", "test_share", "seed"}
    changed = _changed("split", config.split.model_dump(include=shares), SplitConfig())
    told = config.split.request_time
    if told not in (None, usual_request_time(config.split.protocol, timed)):
        changed.append(f"split.request_time={told}")
    cls = model_class(name)
    if cls.traits.trainable:
        changed += _changed("train", config.train.model_dump(mode="json"), TrainConfig(windows=cls.traits.windows[0]))
    own = {key: value for key, value in config.model.items() if key != "name"}
    changed += _changed("model", own, cls.Config())
    for setting in changed:
        words += ["--set", setting]
    return shlex.join(words)


def _changed(group: str, values: Mapping[str, Any], defaults: Config) -> list[str]:
    usual = defaults.model_dump(mode="json")
    return [f"{group}.{key}={_toml(value)}" for key, value in values.items() if value not in (None, usual.get(key))]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
