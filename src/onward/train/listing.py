"""A list of runs: those that pass the filters, in the order asked for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from onward.config import parse_value
from onward.errors import ConfigError, unknown
from onward.evaluate.interest import LOWER_IS_BETTER
from onward.payload import Payload
from onward.train.records import RunRecord, Unreadable, find_runs

_CONDITION = re.compile(r"\s*([\w.@-]+?)\s*(>=|<=|!=|=|>|<)\s*(.*?)\s*")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class RunList(Payload):
    """What `onward runs --json` prints."""

    format: Literal["onward.runs/1"] = "onward.runs/1"
    """Format and version."""
    runs: list[RunRecord]
    """The runs that pass the filters, in the order asked for."""
    found: int
    """Runs that were read, before the filters."""
    unreadable: list[Unreadable]
    """Run folders that can't be read."""


def list_runs(
    folders: Sequence[str | Path] = (".",),
    *,
    model: str | None = None,
    dataset: str | None = None,
    where: Sequence[str] = (),
    sort: str = "date",
    reverse: bool = False,
) -> RunList:
    """The runs at or below folders.

    Args:
        model: name of the model.
        dataset: beginning of the data set's content hash, or the folder that it was in.
        where: conditions such as `train.epochs=20` or `test.ndcg@10>=0.1`, all of which hold: a setting or another of
            `RunRecord.values`, one of = != < <= > >=, a value as in `--set`.
        sort: one of `RunRecord.values`; dates come newest first, metrics best first, anything else ascending, and runs
            without it last.
        reverse: the other way round.

    Raises:
        FormatError: no such folder.
        ConfigError: a condition that can't be read, or names what no run has.
    """
    read = list(find_runs(folders))
    records = [record for record in read if isinstance(record, RunRecord)]
    kept = records
    if model is not None:
        if records and model not in (names := {record.model for record in records}):
            raise ConfigError(unknown("model among the runs", model, names))
        kept = [record for record in kept if record.model == model]
    if dataset is not None:
        kept = [record for record in kept if _of(record, dataset)]
    known = sorted({key for record in records for key in record.values})
    for condition in where:
        test = _condition(condition, known)
        kept = [record for record in kept if test(record)]
    return RunList(
        runs=_sorted(kept, sort, reverse, known),
        found=len(records),
        unreadable=[one for one in read if isinstance(one, Unreadable)],
    )


def _of(record: RunRecord, dataset: str) -> bool:
    path = record.settings.get("dataset_path")
    return record.dataset.startswith(dataset) or (path is not None and Path(path).resolve() == Path(dataset).resolve())


def _condition(text: str, known: Sequence[str]) -> Callable[[RunRecord], bool]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ConfigError(f"--where {text!r} is no condition", "for example --where train.epochs=20 or seconds<60")
    key, sign, written = found.groups()
    _check(key, known)
    wanted = parse_value(written)
    if not isinstance(wanted, str | int | float | list | dict):
        wanted = written  # a date: those of runs are text that orders as they do
    compared = _OPERATORS[sign]

    def holds(record: RunRecord) -> bool:
        value = record.values.get(key)
        if sign in ("=", "!="):
            return compared(value, wanted)
        alike = all(isinstance(one, int | float) for one in (value, wanted)) or (type(value) is type(wanted) is str)
        return alike and compared(value, wanted)

    return holds


def _sorted(records: list[RunRecord], key: str, reverse: bool, known: Sequence[str]) -> list[RunRecord]:
    if records:
        _check(key, known)
    has = [record for record in records if record.values.get(key) is not None]
    part, _, metric = key.partition(".")
    descending = key == "date" or (part in ("valid", "test") and metric not in LOWER_IS_BETTER)
    numbers = all(isinstance(record.values[key], int | float) for record in has)
    has.sort(key=lambda record: record.values[key] if numbers else str(record.values[key]), reverse=descending)
    if reverse:
        has.reverse()
    return has + [record for record in records if record.values.get(key) is None]


def _check(key: str, known: Sequence[str]) -> None:
    if known and key not in known:
        raise ConfigError(unknown("setting, fact or metric of the runs", key, known))
