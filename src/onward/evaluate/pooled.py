"""One model's evaluations over several seeds as one: means, with intervals over users and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from onward.data.sequences import Ints
from onward.evaluate.bootstrap import means, user_means, user_sums
from onward.evaluate.interest import Totals
from onward.evaluate.metrics import AT_K
from onward.evaluate.results import CalibrationBin, Estimate, Evaluation, SliceRow
from onward.evaluate.seeds import Block, seed_intervals, spread_interval


def ranking_names(table: pl.DataFrame) -> list[str]:
    """The metrics among the columns of a table of requests."""
    return [name for name in table.columns if name.partition("@")[0] in (*AT_K, "accuracy")]


def user_numbers(table: pl.DataFrame) -> Ints:
    """(rows,) a number for each row's user, 0 to U - 1."""
    return table["user"].rank("dense").to_numpy().astype(np.int64) - 1


def ranking_block(result: Evaluation, names: Sequence[str]) -> Block:
    """What a training's ranking metrics are resampled from."""
    values = result.table.select(names).to_numpy()
    return user_sums(user_numbers(result.table), values), means


def interest_totals(result: Evaluation) -> Totals:
    """A training's predicted interests as totals."""
    predicted, observed = result.pairs["predicted"].to_numpy(), result.pairs["observed"].to_numpy()
    threshold = float(result.protocol["threshold"])
    decision = threshold if result.decision is None else result.decision
    return Totals.of(predicted, observed, threshold, decision, result.value_range)


def interest_block(result: Evaluation) -> Block:
    """What a training's metrics of interest are resampled from."""
    user = user_numbers(result.pairs)
    totals = interest_totals(result)
    return totals.sums(user, int(user.max()) + 1), totals.metrics


def pooled(results: Sequence[Evaluation], seed: int) -> Evaluation:
    """The mean of trainings that differ in their seed alone, evaluated under one protocol on the same requests.

    In the table of requests metrics are means over the trainings; ranks, and the pairs of interest, are those of the
    first. Intervals of slices, of which only the trainings' own are known, are never too narrow.

    Args:
        seed: of the resampled users.
    """
    first = results[0]
    if len(results) == 1:
        return first
    names = ranking_names(first.table)
    blocks = [ranking_block(result, names) for result in results]
    of_users: list[Block] = [(user_means(sums), statistic) for sums, statistic in blocks]
    metrics = dict(zip(names, seed_intervals(blocks, seed), strict=True))
    if first.pairs.height:
        of_interest = seed_intervals([interest_block(result) for result in results], seed)
        metrics |= dict(zip(interest_totals(first).names, of_interest, strict=True))
    table = first.table.with_columns(
        pl.Series(name, np.mean([result.table[name].to_numpy() for result in results], axis=0)) for name in names
    )
    decisions = [result.decision for result in results if result.decision is not None]
    return first.model_copy(
        update={
            "metrics": {
                name: _moved(one, [result.metrics[name] for result in results]) for name, one in metrics.items()
            },
            "user_metrics": dict(zip(names, seed_intervals(of_users, seed), strict=True)),
            "lists": {name: float(np.mean([result.lists[name] for result in results])) for name in first.lists},
            "slices": {name: _slices([result.slices[name] for result in results]) for name in first.slices},
            "decision": float(np.mean(decisions)) if decisions else None,
            "calibration": _calibration(results),
            "detectable": [],
        }
    ).with_table(table, first.pairs)


def _moved(pooled: Estimate, single: Sequence[Estimate]) -> Estimate:
    """An interval moved to the mean of the exact values (AUC is resampled from bins)."""
    value = float(np.mean([one.value for one in single]))
    return Estimate(value=value, low=pooled.low + value - pooled.value, high=pooled.high + value - pooled.value)


def _slices(rows: Sequence[Sequence[SliceRow]]) -> list[SliceRow]:
    return [
        buckets[0].model_copy(
            update={
                "metrics": {
                    name: spread_interval([bucket.metrics[name] for bucket in buckets]) for name in buckets[0].metrics
                }
            }
        )
        for buckets in zip(*rows, strict=True)
    ]


def _calibration(results: Sequence[Evaluation]) -> list[CalibrationBin]:
    """The curve of all trainings' pairs; a bin counts its pairs in the mean of the trainings."""
    if not results[0].pairs.height:
        return []
    everything = results[0].with_table(results[0].table, pl.concat([result.pairs for result in results]))
    curve = interest_totals(everything).curve()
    return [CalibrationBin(predicted=p, observed=o, pairs=round(n / len(results))) for p, o, n in curve]
