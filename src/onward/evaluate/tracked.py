"""Evaluations and reports, told to the trackers that a run was trained with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onward.config import read_toml
from onward.runs import read_metrics, seed_runs
from onward.tracking.lines import as_logged
from onward.tracking.protocol import Logged
from onward.tracking.trackers import Trackers


def track_evaluation(run: Path, name: str) -> None:
    """Log the metrics of `evaluation/NAME/` of a run with the ends of their intervals, and the file that holds them."""
    with _session(run, but=name) as (trackers, step):
        file = run / "evaluation" / name / "metrics.json"
        trackers.log(Logged(step, _numbers(file)))
        trackers.artifact(file, f"evaluation/{name}")


def track_report(paths: Iterable[str | Path], report: Path) -> None:
    """Give a report to the trackers of all that it is about; bundles have none."""
    for path in paths:
        for run in seed_runs(path) or [Path(path)]:
            with _session(run) as (trackers, _):
                trackers.artifact(report, "reports")


@contextmanager
def _session(run: Path, but: str = "") -> Iterator[tuple[Trackers, int]]:
    """A session that goes on with the run of its training, and the step that it ended at.

    It is told what was logged so far, except an evaluation that is about to be logged.
    """
    lines = read_metrics(run / "metrics.jsonl")
    names = read_toml(run / "config.toml").get("track", ()) if lines else ()
    step = lines[-1]["step"] if lines else 0
    with Trackers(names, run) as trackers:
        if names:
            facts: Mapping[str, Any] = next((line for line in reversed(lines) if line["kind"] == "start"), {})
            evaluations = [file for file in run.glob("evaluation/*/metrics.json") if file.parent.name != but]
            earlier = [*map(as_logged, lines), *(Logged(step, _numbers(file)) for file in sorted(evaluations))]
            trackers.begin({key: value for key, value in facts.items() if key not in ("kind", "step")}, earlier)
        yield trackers, step


def _numbers(file: Path) -> dict[str, float]:
    """Those of an evaluation: `test/ndcg@10`, and its interval, `test/ndcg@10_low` and `test/ndcg@10_high`."""
    found = {}
    for name, estimate in json.loads(file.read_text(encoding="utf-8"))["metrics"].items():
        for end, value in (("", estimate["value"]), ("_low", estimate["low"]), ("_high", estimate["high"])):
            found[f"{file.parent.name}/{name}{end}"] = float(value)
    return found
