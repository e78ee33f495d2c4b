"""The fast evaluation of one part: metrics only, what the training loop watches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.evaluate.bootstrap import Floats
from onward.evaluate.external import known_only
from onward.evaluate.interest import interest_metrics, scale_values
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Recommender, chunks

MOST_SCORES, FEWEST_REQUESTS = 20_000_000_000, 1000
"""Scores that a validation computes at most, so that on a million items it doesn't take longer than the training; and
the requests that it ranks at least."""


def validation_metrics(
    model: Recommender, data: Histories, part: Part, seen: str, ks: Sequence[int] = (10,)
) -> dict[str, float]:
    """Mean over requests of every ranking metric, and the interest metrics where model and data have them.

    Names are those of `onward.evaluate.metrics` ("ndcg@10", "hr@10"...) and of `onward.evaluate.interest` ("mse",
    "f1"...). Cold targets are misses. Empty when the part has no request. Of a part that is large for the catalog
    (20,000 requests at a million items) a sample is ranked, always the same one.
    """
    if not len(part):
        return {}
    part = _sample(part, max(FEWEST_REQUESTS, MOST_SCORES // (model.items.n + 1)))
    ranks = rank_targets(model, data, part, seen)
    values = {name: float(value.mean()) for name, value in request_metrics(ranks, ks).items()}
    _, predicted, observed = target_interests(model, data, part)
    return values | interest_metrics(predicted, observed)


def _sample(part: Part, size: int) -> Part:
    if len(part) <= size:
        return part
    chosen = np.zeros(len(part), dtype=np.bool_)
    chosen[np.random.default_rng(0).choice(len(part), size, replace=False)] = True
    return part.select(chosen)


def target_interests(model: Recommender, data: Histories, part: Part) -> tuple[Ints, Floats, Floats]:
    """(row of the request, predicted interest, observed interest in [0, 1]) of target events, three (E,) arrays.

    Empty when the model only ranks or the data has no values. Targets that are cold, that come after an empty
    history or that have no value are left out: there is nothing to predict from, or to compare with.
    """
    value = data.columns.get("value")
    if model.value_range is None or value is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
    row, position = part.targets(data)
    requests = known_only(part.requests(data), model.items.n)
    item, observed = data.item[position].astype(np.int64), value[position].astype(np.float64)
    candidate = np.append(model.items.candidates, False)[np.minimum(item, model.items.n + 1)]
    known = candidate & (requests.lengths[row] > 0) & ~np.isnan(observed)
    row, item = row[known], item[known]
    predicted = np.zeros(len(row))
    with torch.no_grad():
        for some in chunks(len(row), model.items.n):
            predicted[some] = model.interest(requests.select(row[some]), item[some]).cpu().numpy()
    return row, predicted, scale_values(observed[known], model.value_range)
