"""The fast evaluation of one part: metrics only, what the training loop watches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from onward.data.sequences import Histories
from onward.data.split import Part
from onward.evaluate.interest import DEFAULT_THRESHOLD, interest_metrics, scale_values
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Recommender, chunks


def validation_metrics(
    model: Recommender, data: Histories, part: Part, seen: str, ks: Sequence[int] = (10,)
) -> dict[str, float]:
    """Mean over requests of every ranking metric, and the interest metrics where model and data have them.

    Names are those of `onward.evaluate.metrics` ("ndcg@10", "hr@10"...) and of `onward.evaluate.interest` ("mse",
    "f1"...). Cold targets are misses. Empty when the part has no request.
    """
    if not len(part):
        return {}
    ranks = rank_targets(model, data, part, seen)
    values = {name: float(value.mean()) for name, value in request_metrics(ranks, ks).items()}
    predicted, observed = target_interests(model, data, part)
    return values | interest_metrics(predicted, observed, DEFAULT_THRESHOLD)


def target_interests(
    model: Recommender, data: Histories, part: Part
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(predicted, observed) interest of every target event known to the model: two (E,) arrays in [0, 1].

    Empty when the model only ranks or the data has no values; targets that are cold, after an empty history, or
    without a value are left out, as there is nothing to predict from or to compare with.
    """
    value = data.columns.get("value")
    if model.value_range is None or value is None:
        return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float64)
    row, position = part.targets(data).positions()
    requests = part.requests(data)
    known = (requests.lengths[row] > 0) & model.items.candidates[data.item[position]]
    known &= ~np.isnan(np.asarray(value[position], dtype=np.float64))
    row, position = row[known], position[known]
    item = data.item[position].astype(np.int64)
    histories = requests.select(row)
    predicted = np.zeros(len(row), dtype=np.float32)
    with torch.no_grad():
        for some in chunks(len(row), model.items.n):
            predicted[some] = model.interest(histories.select(some), item[some]).cpu().numpy()
    return predicted, scale_values(np.asarray(value[position], dtype=np.float64), model.value_range)
