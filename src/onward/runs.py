"""What a run folder holds beside its bundle, read back; and folders of runs that differ in their seed alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from onward.config import RunConfig, flat, read_toml
from onward.errors import ConfigError


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, without a last one that a kill cut short; empty when there is no file."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def seed_folder(folder: Path, seed: int) -> Path:
    """Where `onward train --seeds` keeps the run of one seed."""
    return folder / f"seed-{seed}"


def seed_runs(path: str | Path) -> list[Path]:
    """The runs of a folder that `onward train --seeds` wrote, by seed; empty where it is none.

    Raises ConfigError when they differ in more than their seed.
    """
    folder = Path(path)
    if not folder.is_dir() or any((folder / name).is_file() for name in ("config.toml", "manifest.json")):
        return []
    found = {
        int(match[1]): run
        for run in folder.iterdir()
        if (match := re.fullmatch(r"seed-(\d+)", run.name)) and (run / "config.toml").is_file()
    }
    runs = [found[seed] for seed in sorted(found)]
    configs = [RunConfig.parse(read_toml(run / "config.toml"), str(run / "config.toml")) for run in runs]
    for run, config in zip(runs[1:], configs[1:], strict=True):
        if differ := differences(configs[0], config.model_copy(update={"seed": configs[0].seed})):
            raise ConfigError(
                f"{runs[0]} and {run} differ in more than their seed: {'; '.join(differ)}",
                "train them with the same settings, or keep them in folders of their own",
            )
    return runs


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Settings in which two runs differ, as "key: value, not value"; where the data lies doesn't count."""
    left, right = flat(one.model_dump(mode="json")), flat(other.model_dump(mode="json"))
    keys = sorted((left.keys() | right.keys()) - {"dataset_path"})
    return [
        f"{key} is {left.get(key)!r} there, {right.get(key)!r} here" for key in keys if left.get(key) != right.get(key)
    ]
