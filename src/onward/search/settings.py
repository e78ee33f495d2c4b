"""What a search was asked for: `search.toml` in its folder, so that it can go on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from onward.config import Config, SplitConfig, TrainConfig, apply_settings, dump_toml, read_toml
from onward.errors import ConfigError, FormatError, OutputError
from onward.evaluate.interest import LOWER_IS_BETTER
from onward.files import atomic_folder
from onward.space import Value

FILE = "search.toml"


class SearchConfig(Config):
    """A search, but for its budget beyond the first session's."""

    format: Literal["onward.search/1"] = "onward.search/1"
    """Format and version of the folder."""
    dataset: str
    """Content hash of the dataset."""
    models: tuple[str, ...] = ()
    """Models to try; empty: the data and the budget decide."""
    split: SplitConfig
    """How events are divided, cuts filled in."""
    seed: int = Field(0, ge=0)
    """Of the search and of every training."""
    settings: tuple[str, ...] = ()
    """`key=value` settings that every trial has, and that are not searched."""
    budget: float = Field(gt=0)
    """Seconds of the first session."""
    prune: bool = True
    """Whether trials end early where others do better."""

    @property
    def given(self) -> dict[str, Any]:
        """The settings of every trial, nested."""
        return apply_settings({}, self.settings)

    @property
    def train(self) -> TrainConfig:
        """The training loop's settings, as far as they are given."""
        return TrainConfig.parse(self.given.get("train", {}), "train")

    @property
    def lower(self) -> bool:
        """Whether lower values of the metric are better."""
        return self.train.monitor in LOWER_IS_BETTER

    @property
    def kept(self) -> set[str]:
        """Settings that are not searched: those given, `model.width` style."""
        return {f"{group}.{name}" for group in ("model", "train") for name in self.given.get(group, {})}


def write_settings(folder: Path, config: SearchConfig, overwrite: bool) -> None:
    """Make a search's folder. Raises OutputError where one is there already, unless `overwrite`."""
    if not overwrite and (folder / FILE).is_file():
        raise OutputError(
            f"a search is at {folder} already",
            "go on with it by --resume, replace it by --overwrite, or choose another folder",
        )
    with atomic_folder(folder, overwrite) as new:
        (new / FILE).write_text(dump_toml(config), encoding="utf-8")
        (new / "trials").mkdir()


def read_settings(folder: Path, dataset: str) -> SearchConfig:
    """Read what a search was asked for. Raises FormatError where there is none, or one of another dataset."""
    file = folder / FILE
    if not file.is_file():
        raise FormatError(f"{folder} holds no search to go on with: it has no {FILE}", "leave --resume out")
    config = SearchConfig.parse(read_toml(file), str(file))
    if config.dataset != dataset:
        raise FormatError(
            f"{folder} searched on another dataset ({config.dataset[:12]}, not {dataset[:12]})",
            "go on with the dataset that it was started on, or search into another folder",
        )
    return config


def check_unchanged(
    config: SearchConfig, models: Sequence[str], protocol: str | None, seed: int | None, settings: Sequence[str]
) -> None:
    """Raise ConfigError where a search that goes on is asked for something else than at its start."""
    asked: dict[str, tuple[Value, Value]] = {
        "models": (",".join(models) or None, ",".join(config.models) or None),
        "protocol": (protocol, config.split.protocol),
        "seed": (seed, config.seed),
        "settings": (" ".join(settings) or None, " ".join(config.settings) or None),
    }
    for name, (now, then) in asked.items():
        if now is not None and now != then:
            raise ConfigError(
                f"the search was started with {name} = {then}, and is to go on with {now}",
                "with --resume only --budget can change; or search into another folder",
            )
