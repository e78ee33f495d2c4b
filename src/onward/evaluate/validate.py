"""The fast evaluation of one part: metrics only, what the training loop watches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.evaluate.bootstrap import Floats
from onward.evaluate.external import known_only
from onward.evaluate.interest import DEFAULT_THRESHOLD, best_decision, interest_metrics, scale_values
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Bools, Recommender
from onward.models.top_k import chunks

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
    part = part.sample(max(FEWEST_REQUESTS, MOST_SCORES // (model.items.n + 1)))
    ranks = rank_targets(model, data, part, seen)
    values = {name: float(value.mean()) for name, value in request_metrics(ranks, ks).items()}
    _, _, predicted, observed = target_interests(model, data, part)
    decision = best_decision(predicted, observed, DEFAULT_THRESHOLD)
    return values | interest_metrics(predicted, observed, DEFAULT_THRESHOLD, decision, model.value_range)


def target_interests(model: Recommender, data: Histories, part: Part) -> tuple[Ints, Ints, Floats, Floats]:
    """(row of the request, item, predicted interest, observed interest in [0, 1]) of pairs, four (E,) arrays.

    Of a model that learned from values: each target event and its value. Of one that learned which events happened:
    each target, observed as 1, and with it one other candidate, drawn evenly and always the same, observed as 0. Empty
    when the model only ranks or the data has no values. Targets that are cold, that come after an empty history or
    that have no value are left out: there is nothing to predict from, or to compare with.
    """
    value = data.columns.get("value")
    by_value = model.interest_of == "values"
    if model.interest_of is None or (by_value and value is None):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
    row, position = part.targets(data)
    requests = known_only(part.requests(data), model.items.n)
    item = data.item[position].astype(np.int64)
    known = np.append(model.items.candidates, False)[np.minimum(item, model.items.n + 1)] & (requests.lengths[row] > 0)
    if by_value and value is not None and model.value_range is not None:
        observed = scale_values(value[position].astype(np.float64), model.value_range)
        known &= ~np.isnan(observed)
        row, item, observed = row[known], item[known], observed[known]
    else:
        row, item, observed = _against_others(row[known], item[known], model.items.candidates)
    predicted = np.zeros(len(row))
    with torch.no_grad():
        for some in chunks(len(row), model.items.n):
            predicted[some] = model.interest(requests.select(row[some]), item[some]).cpu().numpy()
    return row, item, predicted, observed


def _against_others(row: Ints, item: Ints, candidates: Bools) -> tuple[Ints, Ints, Floats]:
    """Each pair, observed as 1, and as many of other candidates, observed as 0, side by side."""
    others = np.flatnonzero(candidates)
    place = np.searchsorted(others, item)
    drawn = np.random.default_rng(0).integers(0, max(1, len(others) - 1), len(item))
    other = others[np.minimum(drawn + (drawn >= place), len(others) - 1)]
    both = np.stack([item, other], axis=1).ravel()
    return np.repeat(row, 2), both, np.tile([1.0, 0.0], len(item))
