"""What a run folder says of its run, read from its small files alone: settings, metrics, cost, where it was trained.

Nothing is loaded or verified here, so that hundreds of runs are listed in a second.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from onward.config import flat, read_toml
from onward.errors import FormatError, OnwardError
from onward.evaluate.interest import LOWER_IS_BETTER
from onward.payload import Payload
from onward.runs import read_metrics

MONITOR = "ndcg@10"
"""What picks a run's best validation where its settings name nothing."""


class Interval(Payload):
    """A metric of an evaluation."""

    value: float
    """The mean."""
    low: float | None = None
    """Lower end of the 95% interval."""
    high: float | None = None
    """Upper end."""


class RunRecord(Payload):
    """One run, as its folder tells it."""

    path: str
    """The run folder."""
    model: str
    """Name of the model."""
    dataset: str
    """Content hash of the data set that it was trained on."""
    state: Literal["finished", "unfinished"]
    """Whether its model was written; a training that was stopped goes on with --resume."""
    date: str
    """When its training began, ISO 8601, UTC."""
    seconds: float | None
    """Training time, over all sessions; None where nothing was logged yet."""
    parameters: int | None
    """Numbers that the model learned; None until it is finished."""
    best_epoch: float | None
    """Epochs done at the best validation; None for a model fitted in one call."""
    monitor: str
    """The metric that picks the best validation."""
    validation: dict[str, float]
    """Metrics of the best validation; empty where there was none."""
    test: dict[str, Interval]
    """Metrics of the test; empty where it was not evaluated."""
    settings: dict[str, Any]
    """Every setting under its dotted key."""
    git_revision: str | None = None
    """Commit of the folder where the latest session was started; None outside of a repository or where not logged."""
    git_dirty: bool | None = None
    """Whether tracked files differed from that commit."""
    environment: dict[str, Any] = {}
    """Where the latest session ran: versions of Python and packages, system, device."""

    @property
    def values(self) -> dict[str, Any]:
        """All that runs are filtered and sorted by: settings, facts, `valid.` and `test.` metrics, by name."""
        facts = ("path", "dataset", "state", "date", "seconds", "parameters", "best_epoch", "git_revision", "git_dirty")
        return (
            self.settings
            | {name: getattr(self, name) for name in facts}
            | {"model": self.model}
            | {f"valid.{name}": value for name, value in self.validation.items()}
            | {f"test.{name}": estimate.value for name, estimate in self.test.items()}
        )


class Unreadable(Payload):
    """A run folder that can't be read."""

    path: str
    """The folder."""
    problem: str
    """What is wrong with it."""


def read_record(path: str | Path) -> RunRecord:
    """Read one run folder. Raises FormatError or ConfigError naming what is missing or damaged."""
    folder = Path(path)
    if not is_run(folder):
        raise FormatError(
            f"{folder} is no run folder", "name a folder that `onward train` wrote; `onward runs` finds them"
        )
    settings = read_toml(folder / "config.toml")
    lines = read_metrics(folder / "metrics.jsonl")
    manifest = _json(folder / "model" / "manifest.json")
    training = manifest.get("training", {})
    monitor = str(settings.get("train", {}).get("monitor", MONITOR))
    best = best_validation(lines, monitor)
    started = [line for line in lines if line["kind"] == "start"]
    session = started[-1] if started else {}
    return RunRecord(
        path=str(folder),
        model=str(settings.get("model", {}).get("name", "")),
        dataset=str(settings.get("dataset", "")),
        state="finished" if manifest else "unfinished",
        date=started[0]["time"] if started else _modified(folder / "config.toml"),
        seconds=training.get("seconds", next((line["seconds"] for line in reversed(lines) if "seconds" in line), None)),
        parameters=training.get("parameters"),
        best_epoch=training.get("best_epoch", best.get("epoch")) if "steps" in training or not manifest else None,
        monitor=monitor,
        validation={name: value for name, value in best.items() if name not in ("kind", "step", "epoch", "seconds")},
        test=_json(folder / "evaluation" / "test" / "metrics.json").get("metrics", {}),
        settings=flat(settings),
        git_revision=session.get("git_revision"),
        git_dirty=session.get("git_dirty"),
        environment=session.get("environment") or {f"packages.{k}": v for k, v in manifest.get("packages", {}).items()},
    )


def best_validation(lines: Sequence[Mapping[str, Any]], monitor: str) -> dict[str, Any]:
    """The validation line that is best by a metric, the earlier of equals; without it the newest; empty of none."""
    sign = -1 if monitor in LOWER_IS_BETTER else 1
    validations = [line for line in lines if line["kind"] == "validation"]
    measured = [line for line in validations if monitor in line]
    return dict(max(measured, key=lambda line: sign * line[monitor]) if measured else (validations or [{}])[-1])


def find_runs(folders: Sequence[str | Path]) -> Iterator[RunRecord | Unreadable]:
    """Every run at or below these folders, in the order of paths; links and hidden folders are not followed.

    Raises FormatError for a folder that isn't there.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise FormatError(f"no such folder: {folder}", "name folders that runs lie in")
        found |= dict.fromkeys(_below(Path(folder)))
    for path in sorted(found):
        try:
            yield read_record(path)
        except (OnwardError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            yield Unreadable(path=str(path), problem=error.message if isinstance(error, OnwardError) else str(error))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, finished or not: settings beside checkpoints or metrics, which no bundle has."""
    has = (folder / "config.toml").is_file()
    return has and ((folder / "checkpoints").is_dir() or (folder / "metrics.jsonl").is_file())


def _below(top: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(top):
        folder = Path(place)
        if is_run(folder):
            yield folder
        if is_run(folder) or "dataset.toml" in files or "manifest.json" in files:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _json(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise FormatError(f"{file} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise FormatError(f"{file} holds no JSON object")
    return values


def _modified(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="seconds")
