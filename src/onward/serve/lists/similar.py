"""Items that are like one item, by the model that serves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from onward.data.sequences import Histories
from onward.models.base import Bools
from onward.models.top_k import top_k
from onward.serve.lists.scoring import Scorer


def similar_items(
    scorer: Scorer, item: int, k: int, allowed: Bools, tie_rank: NDArray[np.int32]
) -> tuple[list[int], list[float]]:
    """The k items most like one and how like they are, best first; none for an item that was never trained on.

    A sequence model's items are compared by the cosine of their vectors; another model is asked what comes with a
    history of the item alone: EASE and item-kNN answer by co-occurrence, ALS by its factors, Markov by what follows.

    Args:
        item: index in the live catalog.
        allowed: (V + 1,) bool.
    """
    if item >= len(allowed) or not scorer.trained[item]:
        return [], []
    if scorer.has_states:
        scores = scorer.cosines(item)[None]
    else:
        scores = scorer.scores(Histories.from_lists([[item]], len(allowed) - 1))
    scores[:, torch.from_numpy(~allowed)] = -torch.inf
    scores[0, item] = -torch.inf
    found, values = top_k(scores, k, tie_rank)
    size = int((found[0] > 0).sum())
    return found[0, :size].tolist(), values[0, :size].tolist()
