"""Metrics of predicted interest against what a user really gave, as pure functions on numbers in [0, 1].

An observed value (a rating, a share watched) becomes an interest by `scale_values`, the same line that training
used. The threshold says from where on an interest counts as "liked". All arrays are (T,) floats.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DEFAULT_THRESHOLD = 0.75
"""4 of 5 stars on ratings from 1 to 5, the usual line between liked and not in the literature."""


def scale_values(values: Floats, value_range: tuple[float, float]) -> NDArray[np.float64]:
    """Values as interests: `value_range` goes to 0 and 1, what lies outside is clipped, NaN stays NaN."""
    low, high = value_range
    return np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)


def mse(predicted: Floats, observed: Floats) -> float:
    """Mean squared error."""
    return float(np.mean(np.square(_error(predicted, observed))))


def mae(predicted: Floats, observed: Floats) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(_error(predicted, observed))))


def rmse(predicted: Floats, observed: Floats) -> float:
    """Square root of the mean squared error."""
    return math.sqrt(mse(predicted, observed))


def accuracy(predicted: Floats, observed: Floats, threshold: float) -> float:
    """Share on the right side of the threshold (at the threshold counts as liked)."""
    return float(np.mean(_liked(predicted, threshold) == _liked(observed, threshold)))


def precision(predicted: Floats, observed: Floats, threshold: float) -> float:
    """Share of the predicted likes that are likes; 0 when none is predicted."""
    hits, said, _ = _counts(predicted, observed, threshold)
    return hits / said if said else 0.0


def recall(predicted: Floats, observed: Floats, threshold: float) -> float:
    """Share of the likes that are predicted; 0 when there is none."""
    hits, _, liked = _counts(predicted, observed, threshold)
    return hits / liked if liked else 0.0


def f1(predicted: Floats, observed: Floats, threshold: float) -> float:
    """Harmonic mean of precision and recall; 0 when there is neither a like nor a predicted one."""
    hits, said, liked = _counts(predicted, observed, threshold)
    return 2 * hits / (said + liked) if said + liked else 0.0


def interest_metrics(predicted: Floats, observed: Floats, threshold: float = DEFAULT_THRESHOLD) -> dict[str, float]:
    """All of them by name; empty without a pair."""
    if not len(observed):
        return {}
    totals = interest_sums(predicted, observed, threshold).sum(axis=0, keepdims=True)
    return dict(zip(NAMES, interest_from_totals(totals)[0].tolist(), strict=True))


NAMES = ("mse", "mae", "rmse", "accuracy", "precision", "recall", "f1")


def interest_sums(predicted: Floats, observed: Floats, threshold: float) -> NDArray[np.float64]:
    """(T, 7) what each pair adds to the totals: 1, squared and absolute error, right side, hit, said, liked."""
    error = _error(predicted, observed)
    said, liked = _liked(predicted, threshold), _liked(observed, threshold)
    columns = [np.ones(len(error)), np.square(error), np.abs(error), said == liked, said & liked, said, liked]
    return np.stack(columns, axis=1).astype(np.float64)


def interest_from_totals(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 7) metrics in the order of NAMES, from (n, 7) totals of `interest_sums`."""
    count, squared, absolute, right, hits, said, liked = totals.T
    n = np.maximum(count, 1)
    mean_squared = squared / n
    decisions = [hits / np.maximum(said, 1), hits / np.maximum(liked, 1), 2 * hits / np.maximum(said + liked, 1)]
    return np.stack([mean_squared, absolute / n, np.sqrt(mean_squared), right / n, *decisions], axis=1)


def _error(predicted: Floats, observed: Floats) -> Floats:
    if predicted.shape != observed.shape:
        raise ValueError(f"{predicted.shape} predictions but {observed.shape} observed values")
    return predicted - observed


def _liked(values: Floats, threshold: float) -> NDArray[np.bool_]:
    # a rating at the threshold must not fall below it by the rounding of (4 - 1) / (5 - 1)
    return values >= threshold - 1e-9


def _counts(predicted: Floats, observed: Floats, threshold: float) -> tuple[int, int, int]:
    said, liked = _liked(predicted, threshold), _liked(observed, threshold)
    return int((said & liked).sum()), int(said.sum()), int(liked.sum())
