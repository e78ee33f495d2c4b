"""Metrics of predicted interest against what a user really gave, as pure functions on numbers in [0, 1].

An observed value (a rating, a share watched) becomes an interest by `scale_values`, the same line that training
used. The threshold says from where on an interest counts as "liked". All arrays are (T,) floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

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


ERRORS: dict[str, Callable[[Floats, Floats], float]] = {"mse": mse, "mae": mae, "rmse": rmse}
DECISIONS: dict[str, Callable[[Floats, Floats, float], float]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}


def interest_metrics(predicted: Floats, observed: Floats, threshold: float = DEFAULT_THRESHOLD) -> dict[str, float]:
    """All of them by name, over the pairs whose observed value is there; empty when there is none."""
    known = ~np.isnan(observed)
    predicted, observed = predicted[known].astype(np.float64), observed[known].astype(np.float64)
    if not len(observed):
        return {}
    errors = {name: metric(predicted, observed) for name, metric in ERRORS.items()}
    return errors | {name: metric(predicted, observed, threshold) for name, metric in DECISIONS.items()}


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
