"""From the answers of a walk to its numbers: means with intervals, and paired tests against the reference.

Shapes: R requests, U users, P policies, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.arrays import Ints
from onward.evaluate.answers import MAIN, METRICS
from onward.evaluate.bootstrap import Floats, PairedTest, holm, intervals, means, paired_tests, user_sums
from onward.evaluate.results import Estimate
from onward.evaluate.slices import slice_block
from onward.prequential.results import Delay, Scope, Step


@dataclass(frozen=True)
class Table:
    """The answers of all policies to all requests of a walk.

    Attributes:
        requests: one row a request: `period`, `time`, `user`, `returning`, `popularity`.
        answers: policy -> `ndcg@10`, `hr@10`, `cold` of the same rows.
        reference: the policy that the others are compared with.
    """

    requests: pl.DataFrame
    answers: Mapping[str, pl.DataFrame]
    reference: str

    @property
    def periods(self) -> Ints:
        """(R,) int64."""
        return self.requests["period"].to_numpy().astype(np.int64)

    @property
    def returning(self) -> NDArray[np.bool_]:
        """(R,) bool."""
        return self.requests["returning"].to_numpy()


def scopes(table: Table, rows: NDArray[np.bool_], seed: int) -> list[Scope] | None:
    """Every policy on the requests of a (R,) mask; None where there are none."""
    if not rows.any():
        return None
    user = _users(table.requests["user"].to_numpy()[rows])
    names = list(table.answers)
    values = [answers.select(METRICS).to_numpy()[rows] for answers in table.answers.values()]  # P of (R, M)
    cold = [float(answers["cold"].to_numpy()[rows].mean()) for answers in table.answers.values()]
    base = names.index(table.reference)
    mains = np.stack([one[:, 0] for one in values], axis=1)
    sums = user_sums(user, np.concatenate(values, axis=1))
    (found,) = intervals([(sums, means)], seed)
    relative = _relative(user, mains, base, seed)
    tests = paired_tests(user, mains - mains[:, [base]], seed)
    others = [number for number in range(len(names)) if number != base]
    adjusted = dict(zip(others, holm([tests[number].p_value for number in others]), strict=True))
    made = []
    for number in range(len(names)):
        mine = found[number * len(METRICS) : (number + 1) * len(METRICS)]
        test: PairedTest | None = None if number == base else tests[number]
        made.append(
            Scope(
                requests=int(rows.sum()),
                users=int(user.max()) + 1,
                cold_targets=cold[number],
                metrics=dict(zip(METRICS, mine, strict=True)),
                difference=None if test is None else test.difference,
                relative=None if test is None else relative[number],
                p_value=None if test is None else test.p_value,
                p_holm=adjusted.get(number),
            )
        )
    return made


def steps(table: Table, made: Callable[[str, int], int], seed: int) -> dict[str, list[Step]]:
    """Policy -> its NDCG@10 period by period; `made` says when the model of a policy in a period was made."""
    user = _users(table.requests["user"].to_numpy())
    values = np.stack([answers[MAIN].to_numpy() for answers in table.answers.values()], axis=1)
    (found,) = intervals([slice_block(user, values, table.periods)], seed)
    last = int(table.periods.max())
    inside = [table.periods == period for period in range(last + 1)]
    return {
        name: [
            Step(
                made=made(name, period),
                ndcg=found[period * values.shape[1] + number],
                cold_targets=float(answers["cold"].to_numpy()[inside[period]].mean()),
            )
            for period in range(last + 1)
        ]
        for number, (name, answers) in enumerate(table.answers.items())
    }


def delay(periods: int, days: float, user: Ints, older: Floats, current: Floats, seed: int) -> Delay:
    """What models that are some periods old lose, on the same requests: (R,) NDCG@10 each."""
    user = _users(user)
    (test,) = paired_tests(user, (older - current)[:, None], seed)
    return Delay(
        periods=periods,
        days=days,
        requests=len(user),
        difference=test.difference,
        relative=_relative(user, np.stack([current, older], axis=1), 0, seed)[1],
        p_value=test.p_value,
    )


def _relative(user: Ints, values: Floats, base: int, seed: int) -> list[Estimate | None]:
    """How far the mean of each column of (R, P) values is from that of one, as a share of it; None where it is 0."""
    if not values[:, base].any():
        return [None] * values.shape[1]

    def statistic(totals: Floats) -> Floats:
        mean = means(totals)
        below = mean[:, [base]]
        return np.divide(mean, below, out=np.full_like(mean, np.nan), where=below > 0) - 1

    (found,) = intervals([(user_sums(user, values), statistic)], seed)
    return list(found)


def _users(user: Ints) -> Ints:
    """The users numbered from 0."""
    numbers: Ints = np.unique(user, return_inverse=True)[1].astype(np.int64)
    return numbers
