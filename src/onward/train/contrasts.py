"""In what two runs differ: settings, data, code, environment, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from onward.payload import Payload
from onward.train.records import RunRecord, read_record

Kind = Literal["dataset", "settings", "revision", "environment", "training", "validation", "test"]
PLACES = ("dataset_path", "track")
"""Settings that say where things lay and where they were logged, and decide nothing."""


class Differing(Payload):
    """One thing in which two runs differ."""

    kind: Kind
    """What it is a part of."""
    name: str
    """Its name: the dotted key of a setting, a package, a metric..."""
    a: Any
    """In the first run; None where it has none."""
    b: Any
    """In the second run."""


class RunDifferences(Payload):
    """What `onward runs diff --json` prints."""

    format: Literal["onward.runs.diff/1"] = "onward.runs.diff/1"
    """Format and version."""
    a: str
    """The first run."""
    b: str
    """The second run."""
    comparable: bool
    """Whether their metrics were measured on the same data, divided in the same way."""
    differences: list[Differing]
    """All that differs, by kind."""
    same: dict[str, int]
    """Kind -> number of values that are the same in both."""


def run_differences(a: str | Path, b: str | Path) -> RunDifferences:
    """Compare two run folders, finished or not, by what they recorded. Raises FormatError where one is no run."""
    one, other = read_record(a), read_record(b)
    differences, same = list[Differing](), dict[str, int]()
    for kind, left, right in _parts(one, other):
        keys = list(dict.fromkeys([*left, *right]))
        found = [
            Differing(kind=kind, name=key, a=left.get(key), b=right.get(key))
            for key in keys
            if left.get(key) != right.get(key)
        ]
        differences += found
        same[kind] = len(keys) - len(found)
    divided = [{k: v for k, v in run.settings.items() if k.startswith("split.")} for run in (one, other)]
    return RunDifferences(
        a=one.path,
        b=other.path,
        comparable=one.dataset == other.dataset and divided[0] == divided[1],
        differences=differences,
        same=same,
    )


def _parts(one: RunRecord, other: RunRecord) -> list[tuple[Kind, Mapping[str, Any], Mapping[str, Any]]]:
    pairs: list[tuple[Kind, list[dict[str, Any]]]] = []
    runs = (one, other)
    left_out = ("dataset", *PLACES)
    pairs.append(("dataset", [{"hash": run.dataset} for run in runs]))
    pairs.append(("settings", [{k: v for k, v in run.settings.items() if k not in left_out} for run in runs]))
    pairs.append(("revision", [{"git_revision": run.git_revision, "git_dirty": run.git_dirty} for run in runs]))
    pairs.append(("environment", [run.environment for run in runs]))
    facts = ("state", "seconds", "parameters", "best_epoch")
    pairs.append(("training", [{name: getattr(run, name) for name in facts} for run in runs]))
    pairs.append(("validation", [dict(run.validation) for run in runs]))
    pairs.append(("test", [{name: estimate.value for name, estimate in run.test.items()} for run in runs]))
    return [(kind, left, right) for kind, (left, right) in pairs]
