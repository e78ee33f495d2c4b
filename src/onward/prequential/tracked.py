"""A walk, told to trackers once it is done: a curve a policy over the periods, and what all of it came to.

Its trainings aren't tracked: what they cost is measured, and a tracker would take its share of the processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from onward.config import read_toml
from onward.evaluate.results import Estimate
from onward.prequential.finish import RESULT
from onward.prequential.results import Prequential
from onward.prequential.settings import FILE
from onward.tracking.protocol import Logged
from onward.tracking.trackers import Trackers
from onward.train.session import session


def track_walk(result: Prequential, folder: Path, names: Sequence[str]) -> None:
    """Tell trackers of a walk; a step is a period, counted from 0, and the last one's has the figures of the whole."""
    with Trackers(names, folder) as trackers:
        if not names:
            return
        settings = read_toml(folder / FILE)
        trackers.begin({**session(), "model": result.model, "reference": result.reference}, (), 0, settings)
        for logged in (*_periods(result), _overall(result)):
            trackers.log(logged)
        for file in (folder / FILE, folder / RESULT, Path(result.report)):
            trackers.artifact(file)


def _periods(result: Prequential) -> Iterator[Logged]:
    """NDCG@10 of each policy period by period: `full/period/ndcg@10`."""
    for number in range(len(result.periods)):
        numbers: dict[str, float] = {"period/requests": float(result.periods[number].requests)}
        for policy in result.policies:
            step = policy.steps[number]
            numbers |= _estimate(f"{policy.policy}/period/ndcg@10", step.ndcg)
            numbers[f"{policy.policy}/period/cold_targets"] = step.cold_targets
        yield Logged(number, numbers)


def _overall(result: Prequential) -> Logged:
    """Of all requests: metrics, the change against the reference, what the trainings took."""
    numbers: dict[str, float] = {}
    for one in result.policies:
        for name, estimate in one.overall.metrics.items():
            numbers |= _estimate(f"{one.policy}/{name}", estimate)
        if one.overall.relative is not None:
            numbers |= _estimate(f"{one.policy}/change", one.overall.relative)
        for name in ("trainings", "seconds", "processor_seconds"):
            numbers[f"{one.policy}/refits/{name}"] = float(getattr(one.refits, name))
    return Logged(len(result.periods) - 1, numbers)


def _estimate(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
