"""How high items without a training event score beside the others: one number, fitted on the validation part.

A model that knows such items by their features gives them the score of an average item that looks like them. Beside
trained items, of which the popular ones win, an average item is hardly ever among the best ten, however well it fits.
All their scores are therefore raised by one number, the largest that costs the trained items no more than a given share
of their validation NDCG@10. In generalised zero-shot learning this is calibrated stacking (Chao, Changpinyo, Gong, Sha,
ECCV 2016, arXiv:1605.04253). The order among items without events, and among the others, stays what it was.

Legend: R requests, T targets, V items.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.models.base import chunks, mask_scores
from onward.models.sequence import SequenceModel

K = 10
"""Length of the lists that are looked at."""
MOST_REQUESTS = 5_000
"""Requests that are looked at, at most, always the same ones."""

Floats = NDArray[np.float64]


def fit_shift(model: SequenceModel, data: Histories, part: Part, seen: str, cost: float) -> float | None:
    """What the scores of unseen items can be raised by; None where the part can't say what that would cost.

    Args:
        data: the whole data set, in whose columns the part's positions lie. part: the validation part.
        seen: `exclude` leaves the items of a request's history out of the ranking.
        cost: share of NDCG@10 that the trained items may lose to the others.
    """
    above, gaps = _places(model, data, part, seen)
    return largest_shift(above, gaps, cost) if np.isfinite(gaps).any() else None


def largest_shift(above: Ints, gaps: Floats, cost: float) -> float:
    """The largest shift of the unseen items' scores that costs the targets at most a share of their NDCG@10; from 0 on.

    Args:
        above: (T,) trained items that score higher than each target.
        gaps: (T, K) ascending: the target's score less those of the best unseen items, inf where there are fewer. A
            shift beyond a gap puts that item before the target.
    """
    wanted = (1 - cost) * float(_gain(above).mean())
    steps = np.unique(np.concatenate([[0.0], gaps[np.isfinite(gaps) & (gaps > 0)]]))
    low, high = 0, len(steps) - 1
    while low < high:  # a gap itself is the last shift at which its item stays behind
        middle = (low + high + 1) // 2
        kept = float(_gain(above + (gaps < steps[middle]).sum(1)).mean())
        low, high = (middle, high) if kept >= wanted else (low, middle - 1)
    return float(steps[low])


def _gain(above: Ints) -> Floats:
    """(T,) NDCG@10 of targets with so many items above them."""
    return np.where(above < K, 1 / np.log2(np.minimum(above, K) + 2.0), 0.0)


def _places(model: SequenceModel, data: Histories, part: Part, seen: str) -> tuple[Ints, Floats]:
    """`above` and `gaps`, as in `largest_shift`, of the targets that are trained items."""
    if len(part) > MOST_REQUESTS:
        chosen = np.zeros(len(part), dtype=np.bool_)
        chosen[np.random.default_rng(0).choice(len(part), MOST_REQUESTS, replace=False)] = True
        part = part.select(chosen)
    trained = model.items.candidates
    unseen = ~trained
    unseen[0] = False
    k = min(K, int(unseen.sum()))
    requests = part.requests(data)
    row, position = part.targets(data)
    item = data.item[position].astype(np.int64)
    usable = trained[item] & (requests.lengths[row] > 0)
    row, item = row[usable], item[usable]
    above, gaps = np.zeros(len(row), dtype=np.int64), np.full((len(row), K), np.inf)
    excluded = np.zeros(len(row), dtype=np.bool_)  # the target itself: it was in the history
    for some in chunks(len(row), model.items.n) if k else []:
        asked = requests.select(row[some])
        with torch.no_grad():
            scores = model.score(asked).cpu()
            mask_scores(scores, asked if seen == "exclude" else None, trained | unseen)
            own = scores[torch.arange(len(scores)), torch.from_numpy(item[some])][:, None]
            excluded[some] = torch.isneginf(own[:, 0]).numpy()
            above[some] = (scores[:, torch.from_numpy(trained)] > own).sum(1).numpy()
            best = torch.topk(scores[:, torch.from_numpy(unseen)], k, dim=1).values
            gaps[some, :k] = (own - best).double().numpy()
    return above[~excluded], gaps[~excluded]
