"""What a walk was asked for: `prequential.toml` in its folder, so that it can go on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from onward.config import Config, FineTuneConfig, SplitConfig, dump_toml, read_toml
from onward.errors import ConfigError, FormatError
from onward.files import atomic_folder

FILE = "prequential.toml"


class WalkConfig(Config):
    """A walk along the time line."""

    format: Literal["onward.prequential/1"] = "onward.prequential/1"
    """Format and version of the folder."""
    weights: str
    """SHA-256 of the weights of the run whose settings all trainings have."""
    dataset: str
    """Content hash of the dataset."""
    part: Literal["valid", "test"] = "test"
    """Which part of the run's split is walked over."""
    split: SplitConfig
    """The run's split."""
    every: str | None = None
    """Length of a period as it was asked for; absent: ten of equal numbers of events."""
    bounds: tuple[int, ...] = Field(min_length=3)
    """Where periods begin, and the end of the last, microseconds UTC."""
    policies: tuple[str, ...]
    """Refit policies that are compared."""
    fine_tune: FineTuneConfig = FineTuneConfig()
    """How `fine-tune` goes on."""
    seed: int = Field(0, ge=0)
    """Of the users resampled for the intervals."""


def write_settings(folder: Path, config: WalkConfig, overwrite: bool) -> None:
    """Make a walk's folder. Raises OutputError where one is there already, unless `overwrite`."""
    with atomic_folder(folder, overwrite) as new:
        (new / FILE).write_text(dump_toml(config), encoding="utf-8")
        for name in ("models", "answers", "data"):
            (new / name).mkdir()


def read_settings(folder: Path, asked: WalkConfig) -> WalkConfig:
    """What the walk of a folder was asked for.

    Raises:
        FormatError: no walk there.
        ConfigError: it was asked for something else; names what differs.
    """
    file = folder / FILE
    if not file.is_file():
        raise FormatError(f"{folder} holds no walk to go on with: it has no {FILE}", "leave --resume out")
    config = WalkConfig.parse(read_toml(file), str(file))
    differ = [name for name in WalkConfig.model_fields if getattr(config, name) != getattr(asked, name)]
    if differ:
        names = {"weights": "run", "bounds": "every"}
        said = ", ".join(dict.fromkeys(names.get(name, name) for name in differ))
        raise ConfigError(
            f"{folder} was begun with another {said}", "go on with the same command, or walk into another folder"
        )
    return config
