"""An update, told to trackers once it is done: what it was asked for, how its trainings went, what the gate said.

The trainings happen in a folder that is removed, so the run of a tracker is in one of its own, `NAME.tracking/` beside
the next version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onward.evaluate.results import Estimate
from onward.runs import read_metrics
from onward.tracking.lines import as_logged
from onward.tracking.protocol import Logged
from onward.tracking.trackers import Trackers
from onward.train.session import session
from onward.update.results import UpdateResult

STAGES = ("candidate", "final")
"""Runs in the folder of work."""


def track_update(result: UpdateResult, target: Path, work: Path, names: Sequence[str]) -> None:
    """Tell trackers of an update.

    Args:
        target: folder of the next version, written or not.
        work: where the runs of its trainings lie.
        names: of trackers.
    """
    if not names:
        return
    folder = target.parent / f"{target.name}.tracking"
    folder.mkdir(exist_ok=True)
    written = Path(result.report) if result.next is None and result.report else target / "manifest.json"
    with Trackers(names, folder) as trackers:
        plan = result.plan.model_dump(mode="json")
        facts = {**session(), "model": result.model, "name": result.name, "data": result.data, "next": result.next}
        trackers.begin(facts, redo_from=0, settings=plan)
        steps = _trainings(work)
        last = max(steps, default=0)
        steps[last] = steps.get(last, {}) | _numbers(result)
        for step in sorted(steps):  # W&B takes no step that lies before another
            trackers.log(Logged(step, steps[step]))
        trackers.artifact(written)


def _trainings(work: Path) -> dict[int, dict[str, float]]:
    """Step -> the numbers of both trainings, named by their stage: `candidate/train/loss`."""
    found: dict[int, dict[str, float]] = {}
    for stage in STAGES:
        for line in map(as_logged, read_metrics(work / stage / "metrics.jsonl")):
            numbers = found.setdefault(line.step, {})
            numbers |= {f"{stage}/{name}": value for name, value in line.metrics.items()}
    return found


def _numbers(result: UpdateResult) -> dict[str, float]:
    """What came of it, and what the gate measured, with the ends of intervals: `gate/candidate/ndcg@10_low`."""
    verdict = result.gate
    counts = ("trained_events", "held_out_events", "seconds")
    numbers = {f"update/{name}": float(getattr(result, name)) for name in counts}
    numbers |= {"gate/passed": float(verdict.passed), "gate/least": verdict.least, "gate/p_value": verdict.p_value}
    estimates: dict[str, Estimate] = {"difference": verdict.difference}
    for model, metrics in (("current", verdict.current), ("candidate", verdict.candidate)):
        estimates |= {f"{model}/{name}": estimate for name, estimate in metrics.items()}
    for name, one in estimates.items():
        numbers |= {f"gate/{name}": one.value, f"gate/{name}_low": one.low, f"gate/{name}_high": one.high}
    return numbers
