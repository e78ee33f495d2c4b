"""A run that goes on where another one stopped, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from onward.config import RunConfig, dump_toml, read_toml
from onward.errors import ConfigError
from onward.files import atomic_folder
from onward.train.loop import BEST, LAST


def branch(run: Path, folder: Path) -> None:
    """Copy what `train(out=folder, resume=True)` goes on from; the older run stays as it is.

    A folder that went on from there already, and was killed, stays too, as it goes on further ahead. Any other that is
    there is replaced.

    Raises:
        ConfigError: the run was not ended from outside at a constant step size, so that there is nothing to go on with.
        OutputError: the folder can't be written.
    """
    config = RunConfig.parse(read_toml(run / "config.toml"), str(run / "config.toml"))
    if config.train.stop_after is None or config.train.decay_from is not None:
        raise ConfigError(f"{run} went to its end, so that nothing is left to go on with")
    opened = config.model_copy(update={"train": config.train.model_copy(update={"stop_after": None})})
    text, there = dump_toml(opened), folder / "config.toml"
    if there.is_file() and there.read_text(encoding="utf-8") == text and (folder / LAST).is_file():
        return
    with atomic_folder(folder, overwrite=True) as new:
        (new / "config.toml").write_text(text, encoding="utf-8")
        (new / "checkpoints").mkdir()
        for file in (LAST, BEST, Path("metrics.jsonl")):
            shutil.copy(run / file, new / file)
