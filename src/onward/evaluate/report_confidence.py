"""How sure a model is of its lists, and how often it is right: the calibration of models that rank.

A softmax over the catalog is a distribution over what comes next, so the probabilities of the items listed add up to
the chance, by the model's own account, that the list holds it. Over many requests that chance can be compared with
what happened, as a forecaster's chance of rain can (Murphy and Winkler, Applied Statistics 26, 1977; of networks Guo,
Pleiss, Sun and Weinberger, ICML 2017). Other scores, such as those of item-kNN or of a pairwise loss, are no
probabilities.

Shapes: R requests, V items.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Recommender
from onward.models.sequence import SequenceModel

REQUESTS = 2000
"""Requests that are looked at."""
LISTED = 10
"""Items of a list."""
BINS = 10
PROBABILITIES = ("cross_entropy", "sampled_softmax")
"""Losses after which the softmax of the scores estimates how likely each item is next."""


def states_probabilities(model: Recommender) -> TypeGuard[SequenceModel]:
    """Whether the softmax of a model's scores is what it holds to be likely."""
    return isinstance(model, SequenceModel) and model.config.ranks and model.config.loss in PROBABILITIES


def confidence(model: Recommender, data: Histories, part: Part, seen: str, seed: int) -> list[dict[str, Any]]:
    """Points of the calibration curve, requests in ten groups of equal size by how sure the model was.

    `predicted` is the mean probability that the ten items listed hold the target, among the items that may be listed;
    `observed` the share of lists that did; `pairs` the requests. Empty where requests ask for sets of targets, of a
    model that states no probabilities, or without requests that it answers itself.

    Args:
        data: in whose columns the part's positions lie, as the model reads them.
        part: the requests, of which at most `REQUESTS` are drawn.
        seen: as in `rank_targets`.
        seed: of the draw.
    """
    if not states_probabilities(model) or "group" in data.columns:
        return []
    drawn = np.sort(np.random.default_rng(seed).permutation(len(part))[:REQUESTS])
    drawn = drawn[model.knows(part.select(drawn).requests(data))]
    some = part.select(drawn)
    if not len(some):
        return []
    sure = np.zeros(len(some))

    def keep(rows: Ints, scores: Tensor) -> None:
        likely = torch.softmax(scores.double(), 1).topk(min(LISTED, scores.shape[1] - 1), 1).values.sum(1)
        sure[rows] = likely.cpu().numpy()

    ranks = rank_targets(model, data, some, seen, on_scores=keep)
    hit = request_metrics(ranks, (LISTED,))[f"hr@{LISTED}"]
    groups = [group for group in np.array_split(np.argsort(sure, kind="stable"), BINS) if len(group)]
    return [
        {"predicted": float(sure[group].mean()), "observed": float(hit[group].mean()), "pairs": len(group)}
        for group in groups
    ]
