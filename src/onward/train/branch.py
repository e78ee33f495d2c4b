"""A run that goes on where another one stopped, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from onward.config import RunConfig, dump_toml, read_toml
from onward.errors import ConfigError
from onward.files import atomic_folder
from onward.train.loop import BEST, LAST


def branch(run: Path, folder: Path, overwrite: bool = False) -> None:
    """Copy what `train(out=folder, resume=True)` goes on from; the older run stays as it is.

    Raises:
        ConfigError: the run was not ended from outside at a constant step size, so that there is nothing to go on with.
        OutputError: the folder exists, unless `overwrite`, or can't be written.
    """
    config = RunConfig.parse(read_toml(run / "config.toml"), str(run / "config.toml"))
    if config.train.stop_after is None or config.train.decay_from is not None:
        raise ConfigError(f"{run} went to its end, so that nothing is left to go on with")
    opened = config.model_copy(update={"train": config.train.model_copy(update={"stop_after": None})})
    with atomic_folder(folder, overwrite) as new:
        (new / "config.toml").write_text(dump_toml(opened), encoding="utf-8")
        (new / "checkpoints").mkdir()
        for file in (LAST, BEST, Path("metrics.jsonl")):
            shutil.copy(run / file, new / file)
