"""Metrics of predicted interest against what a user really gave, as pure functions on numbers in [0, 1].

An observed value (a rating, a share watched) becomes an interest by `scale_values`, the same line that training
used. The threshold says from where on an interest counts as "liked". All arrays are (T,) floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DEFAULT_THRESHOLD = 0.75
"""4 of 5 stars on ratings from 1 to 5, the usual line between liked and not in the literature."""
LOWER_IS_BETTER = ("mse", "mae", "rmse", "log_loss", "ece", "value_rmse", "value_mae")
CALIBRATION_BINS = 10
AUC_BINS = 128
"""Bins of predictions from which AUC's interval is resampled; its value is exact."""
_SURE = 1e-6
"""Predictions nearer to 0 or 1 than this cost as much as at this distance."""


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


def log_loss(predicted: Floats, observed: Floats) -> float:
    """Cross-entropy, in nats."""
    return float(np.mean(_cross_entropy(predicted, observed)))


def auc(predicted: Floats, observed: Floats, threshold: float) -> float:
    """Area under the ROC curve of liked against not; 0.5 when there is only one kind."""
    liked = _liked(observed, threshold)
    n, above = len(liked), int(liked.sum())
    if above in (0, n):
        return 0.5
    _, place, count = np.unique(predicted, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1, ties sharing their mean
    return float((rank[liked].sum() - above * (above + 1) / 2) / (above * (n - above)))


def best_decision(predicted: Floats, observed: Floats, threshold: float) -> float:
    """The prediction from which on taking pairs for liked gives the best F1; of equal ones the highest.

    `threshold` where there is no pair.
    """
    if not len(predicted):
        return threshold
    order = np.argsort(-predicted, kind="stable")
    ordered, hits = predicted[order], np.cumsum(_liked(observed, threshold)[order])
    score = 2 * hits / (np.arange(1, len(ordered) + 1) + hits[-1])
    last_of_equal = np.append(ordered[1:] < ordered[:-1], True)
    return float(ordered[last_of_equal][np.argmax(score[last_of_equal])])


def interest_metrics(
    predicted: Floats,
    observed: Floats,
    threshold: float = DEFAULT_THRESHOLD,
    decision: float | None = None,
    value_range: tuple[float, float] | None = None,
) -> dict[str, float]:
    """All of them by name; empty without a pair. Without a `decision` that is the threshold too."""
    if not len(observed):
        return {}
    totals = Totals.of(predicted, observed, threshold, threshold if decision is None else decision, value_range)
    everyone = np.zeros(len(observed), dtype=np.int64)
    found = totals.metrics(totals.sums(everyone, 1))[0].tolist()
    exact = auc(predicted, observed, threshold)
    return dict(zip(totals.names, found, strict=True)) | {"auc": exact}


@dataclass(frozen=True)
class Totals:
    """Pairs as totals that add up over users, and metrics as functions of these.

    Attributes:
        names: of the metrics, in the order of `metrics`' columns.
        columns: (T, 8) what each pair adds: 1, squared and absolute error, right side, hit, said, liked, cross-entropy.
        calibration, rank: (T,) bin of each prediction, of CALIBRATION_BINS and of AUC_BINS.
    """

    names: tuple[str, ...]
    columns: NDArray[np.float64]
    predicted: Floats
    observed: Floats
    calibration: NDArray[np.int64]
    rank: NDArray[np.int64]
    scale: float

    @classmethod
    def of(
        cls,
        predicted: Floats,
        observed: Floats,
        threshold: float,
        decision: float,
        value_range: tuple[float, float] | None = None,
    ) -> Totals:
        """From pairs; `value_range` where metrics in units of the value column are wanted."""
        names = (*NAMES, *(VALUE_NAMES if value_range is not None else ()))
        return cls(
            names,
            interest_sums(predicted, observed, threshold, decision),
            predicted,
            observed,
            _equal_bins(predicted, CALIBRATION_BINS),
            _equal_bins(predicted, AUC_BINS),
            1.0 if value_range is None else value_range[1] - value_range[0],
        )

    def sums(self, user: NDArray[np.int64], n: int) -> NDArray[np.float64]:
        """(n, C) totals of each user, `user` being (T,) numbers below n."""
        plain = [np.bincount(user, column, n) for column in self.columns.T]
        liked = self.columns[:, 6]
        counts = [(self.rank, AUC_BINS, liked), (self.rank, AUC_BINS, 1 - liked)]
        counts += [
            (self.calibration, CALIBRATION_BINS, column)
            for column in (np.ones(len(user)), self.predicted, self.observed)
        ]
        binned = [np.bincount(user * size + bins, column, n * size).reshape(n, size) for bins, size, column in counts]
        return np.concatenate([np.stack(plain, axis=1), *binned], axis=1)

    def metrics(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, M) metrics in the order of `names`, from (n, C) totals; AUC from the bins."""
        simple = interest_from_totals(totals[:, :8])
        ends = np.cumsum([8, AUC_BINS, AUC_BINS, *[CALIBRATION_BINS] * 3])
        liked, not_liked, pairs, predicted, observed = np.split(totals, ends[:-1], axis=1)[1:]
        below = np.cumsum(not_liked, axis=1) - not_liked / 2
        possible = liked.sum(axis=1) * not_liked.sum(axis=1)
        area = np.divide((liked * below).sum(axis=1), possible, out=np.full(len(totals), 0.5), where=possible > 0)
        off = np.abs(predicted - observed).sum(axis=1) / np.maximum(pairs.sum(axis=1), 1)
        found = [simple, area[:, None], off[:, None]]
        if len(self.names) > len(NAMES):
            found += [self.scale * simple[:, 2:3], self.scale * simple[:, 1:2]]
        return np.concatenate(found, axis=1)

    def curve(self) -> list[tuple[float, float, int]]:
        """(mean prediction, mean observation, pairs) of each calibration bin, in ascending order."""
        found = []
        for number in np.unique(self.calibration).tolist():
            inside = self.calibration == number
            found.append((float(self.predicted[inside].mean()), float(self.observed[inside].mean()), int(inside.sum())))
        return found


NAMES = ("mse", "mae", "rmse", "accuracy", "precision", "recall", "f1", "log_loss", "auc", "ece")
VALUE_NAMES = ("value_rmse", "value_mae")


def interest_sums(predicted: Floats, observed: Floats, threshold: float, decision: float) -> NDArray[np.float64]:
    """(T, 8) what each pair adds to the totals: see `Totals.columns`."""
    error = _error(predicted, observed)
    said, liked = _liked(predicted, decision), _liked(observed, threshold)
    columns = [np.ones(len(error)), np.square(error), np.abs(error), said == liked, said & liked, said, liked]
    return np.stack([*columns, _cross_entropy(predicted, observed)], axis=1).astype(np.float64)


def interest_from_totals(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 8) the first metrics of NAMES, from (n, 8) totals of `interest_sums`."""
    count, squared, absolute, right, hits, said, liked, entropy = totals.T
    n = np.maximum(count, 1)
    mean_squared = squared / n
    decisions = [hits / np.maximum(said, 1), hits / np.maximum(liked, 1), 2 * hits / np.maximum(said + liked, 1)]
    return np.stack([mean_squared, absolute / n, np.sqrt(mean_squared), right / n, *decisions, entropy / n], axis=1)


def _equal_bins(values: Floats, n: int) -> NDArray[np.int64]:
    """(T,) bin of each value, about equally many in each; equal values share one."""
    edges = np.unique(np.quantile(values, np.arange(1, n) / n)) if len(values) else np.zeros(0)
    return np.searchsorted(edges, values, side="right")


def _cross_entropy(predicted: Floats, observed: Floats) -> Floats:
    sure = np.clip(predicted, _SURE, 1 - _SURE)
    return -(observed * np.log(sure) + (1 - observed) * np.log1p(-sure))


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
