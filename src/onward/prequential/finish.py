"""The end of a walk: the table of requests, the result, the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.evaluate.answers import MAIN
from onward.files import atomic_file
from onward.prequential.measure import Table, delay, scopes, steps
from onward.prequential.policies import ModelKey, Policy, delayed, delays, parse_policies, reference
from onward.prequential.report import REPORT, write_page
from onward.prequential.results import Cost, Delay, Period, PolicyResult, Prequential
from onward.prequential.settings import WalkConfig

RESULT, REQUESTS = "result.json", "requests.parquet"
DAY = 86_400e6
"""Microseconds."""


@dataclass(frozen=True)
class Walked:
    """A walk that came to its end.

    Attributes:
        requests: one row a request (`about_requests`), period by period.
        answers: of each period, what each model answered.
        costs: of every model.
    """

    bundle: Bundle
    dataset: Dataset
    config: WalkConfig
    requests: pl.DataFrame
    answers: Sequence[Mapping[ModelKey, pl.DataFrame]]
    costs: Mapping[ModelKey, Cost]


def finish(folder: Path, walked: Walked) -> Prequential:
    """Measure, and write what came of it beside the walk's models and answers."""
    config, policies = walked.config, parse_policies(walked.config.policies)
    base = reference(policies)
    answers = {
        policy.name: pl.concat([given[policy.model(period)] for period, given in enumerate(walked.answers)])
        for policy in policies
    }
    table = Table(walked.requests, answers, base.name)
    result = Prequential(
        model=walked.bundle.manifest.model,
        weights=config.weights,
        dataset=config.dataset,
        part=config.part,
        every=config.every,
        seen=walked.bundle.manifest.seen,
        request_time=config.split.request_time or "none",
        seed=config.seed,
        reference=base.name,
        first=walked.costs[base.model(0)],
        periods=_periods(walked),
        policies=_policies(table, policies, base, walked),
        delays=_delays(walked, policies),
        folder=str(folder),
        report=str(folder / REPORT),
    )
    _write_requests(folder, table)
    with atomic_file(folder / RESULT, overwrite=True) as new:
        new.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_page(result, folder)
    return result


def _periods(walked: Walked) -> list[Period]:
    data, bounds = walked.dataset.histories, walked.config.bounds
    assert data.time is not None
    earlier = np.searchsorted(np.sort(data.time[data.positions()[1]]), bounds)
    found = []
    for number, rows in enumerate(walked.requests.partition_by("period", maintain_order=True)):
        found.append(
            Period(
                start=bounds[number],
                end=bounds[number + 1],
                training_events=int(earlier[number]),
                requests=rows.height,
                users=rows["user"].n_unique(),
                returning=int(rows["returning"].sum()),
            )
        )
    return found


def _policies(table: Table, policies: Sequence[Policy], base: Policy, walked: Walked) -> list[PolicyResult]:
    seed, returning = walked.config.seed, table.returning
    of = {policy.name: policy for policy in policies}
    everyone = scopes(table, np.ones_like(returning), seed)
    assert everyone is not None, "every period has requests"
    back, new = scopes(table, returning, seed), scopes(table, ~returning, seed)
    over_time = steps(table, lambda name, period: of[name].model(period).period, seed)
    theirs = _refits(base, walked)
    made = []
    for number, policy in enumerate(policies):
        mine = _refits(policy, walked)
        made.append(
            PolicyResult(
                policy=policy.name,
                overall=everyone[number],
                returning=None if back is None else back[number],
                new=None if new is None else new[number],
                refits=mine,
                share_of_seconds=mine.seconds / theirs.seconds if theirs.trainings else None,
                share_of_processor_seconds=(
                    mine.processor_seconds / theirs.processor_seconds if theirs.trainings else None
                ),
                steps=over_time[policy.name],
            )
        )
    return made


def _refits(policy: Policy, walked: Walked) -> Cost:
    """What a policy's trainings took, without the first one."""
    keys = dict.fromkeys(policy.model(period) for period in range(1, len(walked.answers)))
    costs = [walked.costs[key] for key in keys if key.period > 0]
    return Cost(
        trainings=len(costs),
        seconds=sum(one.seconds for one in costs),
        processor_seconds=sum(one.processor_seconds for one in costs),
    )


def _delays(walked: Walked, policies: Sequence[Policy]) -> list[Delay]:
    bounds, found = walked.config.bounds, []
    periods = len(walked.answers)
    for age in delays(policies, periods):
        later = range(age, periods)
        older = pl.concat([walked.answers[period][delayed(period, age)] for period in later])
        current = pl.concat([walked.answers[period][delayed(period, 0)] for period in later])
        user = walked.requests.filter(pl.col("period") >= age)["user"].to_numpy()
        days = float(np.mean([bounds[period] - bounds[period - age] for period in later])) / DAY
        found.append(delay(age, days, user, older[MAIN].to_numpy(), current[MAIN].to_numpy(), walked.config.seed))
    return found


def _write_requests(folder: Path, table: Table) -> None:
    """One row a request: what is known of it, and each policy's metrics under `POLICY METRIC`."""
    columns = [
        answers.rename({name: f"{policy} {name}" for name in answers.columns})
        for policy, answers in table.answers.items()
    ]
    with atomic_file(folder / REQUESTS, overwrite=True) as new:
        pl.concat([table.requests, *columns], how="horizontal").write_parquet(new)
