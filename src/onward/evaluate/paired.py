"""Every model of a comparison tested against the baseline, on the same users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onward.evaluate.bootstrap import PairedTest, holm, paired_statistics, paired_tests
from onward.evaluate.comparison import Difference, Row
from onward.evaluate.pooled import interest_block, interest_totals, ranking_block, ranking_names, user_numbers
from onward.evaluate.power import smallest_difference
from onward.evaluate.seeds import seed_tests


def tests(rows: Sequence[Row], reference: Row, seed: int) -> list[Difference]:
    """Every metric of every other row against the reference, adjusted for the number of rows.

    A paired bootstrap over users where both are one training, else a t-test over users and seeds.

    Args:
        seed: of the resampled users.
    """
    others = [row for row in rows if row.label != reference.label]
    if not others:
        return []
    names = ranking_names(reference.evaluation.table)
    found = _ranking_tests(others, reference, names, seed)
    made = [test for column, name in enumerate(names) for test in _adjusted(name, others, found, column, reference)]
    return made + _interest_tests(others, reference, seed)


def _ranking_tests(others: Sequence[Row], reference: Row, names: Sequence[str], seed: int) -> list[list[PairedTest]]:
    """The tests of each row, a metric each."""
    single = [row for row in others if not row.seeds and not reference.seeds]
    base = reference.evaluation.table
    found: dict[str, list[PairedTest]] = {}
    if single:  # all from the same draws
        differences = [(row.evaluation.table.select(names) - base.select(names)).to_numpy() for row in single]
        tested = paired_tests(user_numbers(base), np.concatenate(differences, axis=1), seed)
        found = {row.label: tested[i * len(names) : (i + 1) * len(names)] for i, row in enumerate(single)}
    theirs = [ranking_block(result, names) for result in reference.results]
    for row in others:
        if row.label not in found:
            found[row.label] = seed_tests([ranking_block(result, names) for result in row.results], theirs, seed)
    return [found[row.label] for row in others]


def _interest_tests(others: Sequence[Row], reference: Row, seed: int) -> list[Difference]:
    """Every metric of interest of the models that predicted it for the reference's pairs."""
    base = reference.evaluation.pairs
    if not base.height:
        return []
    same = ["user", "item", "observed"]
    alike = [
        row
        for row in others
        if row.evaluation.pairs.height and row.evaluation.pairs.select(same).equals(base.select(same))
    ]
    theirs = [interest_block(result) for result in reference.results]
    found = []
    for row in alike:
        mine = [interest_block(result) for result in row.results]
        single = len(mine) == len(theirs) == 1
        found.append(paired_statistics(mine[0], theirs[0], seed) if single else seed_tests(mine, theirs, seed))
    names = interest_totals(reference.evaluation).names
    return [test for column, name in enumerate(names) for test in _adjusted(name, alike, found, column, reference)]


def _adjusted(
    metric: str, rows: Sequence[Row], found: Sequence[Sequence[PairedTest]], column: int, reference: Row
) -> list[Difference]:
    """The tests of several models on one metric, a row each."""
    tested = [tests[column] for tests in found]
    adjusted = holm([test.p_value for test in tested])
    return [
        Difference(
            metric=metric,
            label=row.label,
            baseline=reference.label,
            difference=test.difference,
            p_value=test.p_value,
            p_holm=p,
            detectable=smallest_difference(test.error, test.freedom, len(rows)),
        )
        for row, test, p in zip(rows, tested, adjusted, strict=True)
    ]
