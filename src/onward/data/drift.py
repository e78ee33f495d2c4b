"""How far a column's values in the test lie from those in the training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COMMONEST = 20
"""Values that count by themselves in the population stability index; the rest count together."""


def kolmogorov_smirnov(values: Floats, training: Floats, test: Floats) -> float | None:
    """Largest distance of two weighted distribution functions, 0 to 1; None where one has no weight.

    Args:
        values: (n,) numbers; NaN is left out.
        training, test: (n,) weight of each in the two parts.
    """
    there = ~np.isnan(values)
    order = np.argsort(values[there], kind="stable")
    ordered = values[there][order]
    first, second = training[there][order], test[there][order]
    if not first.sum() or not second.sum():
        return None
    last = np.append(np.diff(ordered) != 0, True)  # of equal values, the place after all of them counts
    distance = np.cumsum(first) / first.sum() - np.cumsum(second) / second.sum()
    return float(np.abs(distance[last]).max())


def stability_index(training: Floats, test: Floats) -> float | None:
    """Population stability index: sum of (p - q) ln(p / q) over values; None where one part is empty.

    The COMMONEST values count by themselves, the others together. Half an event is added to each, so that a value that
    one part lacks doesn't count without end.

    Args:
        training, test: (k,) events with each value.
    """
    if not training.sum() or not test.sum():
        return None
    order = np.argsort(-(training / training.sum() + test / test.sum()), kind="stable")
    shares = []
    for counts in (training[order], test[order]):
        rest = counts[COMMONEST:]
        kept = np.append(counts[:COMMONEST], rest.sum()) if len(rest) else counts
        shares.append((kept + 0.5) / (kept + 0.5).sum())
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
