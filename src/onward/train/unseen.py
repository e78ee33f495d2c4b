"""How high items without a training event score beside the others: one number, fitted on the validation part.

A model that knows such items by their features gives them the score of an average item that looks like them. Beside
trained items, of which the popular ones win, an average item is hardly ever among the best ten, however well it fits.
All their scores are therefore raised by one number, the largest that costs the trained items no more than a given share
of their validation NDCG@10; where they cost more as they are, they are lowered. In generalised zero-shot learning this
is calibrated stacking (Chao, Changpinyo, Gong, Sha, ECCV 2016, arXiv:1605.04253). The order among items without events,
and among the others, stays what it was.

Before that, such items take over what trained items of their looks have learned (`Residuals`), and what the items of
the history are like is added to their scores (`Likeness`), in a measure that needs no item without events among the
targets: so that it spreads them as far as the model's own scores do, or a given multiple.

Legend: R requests, T targets, V items.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.config import TrainConfig
from onward.data.dataset import Dataset
from onward.data.sequences import Histories, Ints
from onward.data.split import Part, Split
from onward.models.features.likeness import Likeness
from onward.models.features.residuals import Residuals
from onward.models.sequence import SequenceModel
from onward.models.top_k import chunks, mask_scores
from onward.progress import OnStep, shown_progress, silent

K = 10
"""Length of the lists that are looked at."""
MOST_REQUESTS = 5_000
"""Requests that are looked at for the shift, at most, always the same ones."""
MOST_SPREAD = 1_000
"""Those by which it is seen how far scores spread."""
MARGIN = 1e-4
"""What the shift stays below the gap that it may not exceed."""

Floats = NDArray[np.float64]


def fit_unseen(
    model: SequenceModel, histories: Histories, divided: Split, data: Dataset, config: TrainConfig, shown: bool = False
) -> tuple[dict[str, float], list[str]]:
    """How items without training events score: what was fitted, and what it says; nothing where features make no
    items.

    Args:
        shown: whether work that takes more than two seconds draws a bar on standard error.
    """
    if model.featured is None or not model.featured.makes_items or not model.config.ranks:
        return {}, []
    facts, said, given = dict[str, float](), list[str](), None if shown else silent
    if config.unseen_likeness > 0:
        frame, how = data.catalog.frame, (config.unseen_likeness, config.unseen_recency, config.unseen_weight)
        with shown_progress("items without events", given) as on_step:
            weight = fit_likeness(model, histories, divided.valid, frame, *how, on_step=on_step)
        if weight is not None:
            facts["unseen_weight"] = weight
            said.append(f"items without events: likeness to the history's items counts {weight:.2f} times the cosine")
    shift = config.unseen_shift
    if shift is None and config.unseen_cost > 0:
        with shown_progress("how high items without events score", given) as on_step:
            shift = fit_shift(model, histories, divided.valid, data.manifest.seen, config.unseen_cost, on_step)
    if shift is not None:
        model.featured.raise_unseen(shift)
        facts["unseen_shift"] = shift
        moved = "raised" if shift >= 0 else "lowered"
        said.append(f"items without events: their scores are {moved} by {abs(shift):.2f}")
    return facts, said


def fit_likeness(
    model: SequenceModel,
    data: Histories,
    part: Part,
    catalog: pl.DataFrame,
    ratio: float,
    recency: float,
    weight: float | None = None,
    on_step: OnStep = silent,
) -> float | None:
    """Let unseen items take over residuals, and add to their scores how alike they are to those of the history.

    Returns the weight of that. Nothing is taken over or added, and None returned, where items have no columns to
    compare, or the part can't say how far scores spread.

    Args:
        data: the whole data set, in whose columns the part's positions lie. part: the validation part.
        catalog: features of the items, row r being item index r + 1.
        ratio: spread of what is added over that of the model's own scores: standard deviations over the unseen items
            of a request, in the mean over requests.
        recency: as in `Likeness`.
        weight: of the cosine; by default what gives that ratio.
        on_step: progress of the items that take over, then of the requests that are scored.
    """
    assert model.features is not None
    assert model.featured is not None
    seen = model.items.candidates
    likeness = Likeness.fit(model.features.columns, catalog, seen, recency)
    if likeness is None:
        return None
    likeness.residuals = Residuals.fit(model.featured, catalog, likeness.table, seen, on_step)
    model.likeness = likeness  # as yet with weight 0: scores are the model's own
    if weight is None:
        found = _spreads(model, likeness, data, part, on_step)
        if found is None:
            model.likeness = None
            return None
        weight = ratio * found[0] / found[1]
    likeness.weight = weight
    return weight


def _spreads(
    model: SequenceModel, likeness: Likeness, data: Histories, part: Part, on_step: OnStep
) -> tuple[float, float] | None:
    """Mean standard deviation over the unseen items of a request: of the model's scores, and of the cosines."""
    unseen = np.flatnonzero(~model.items.candidates)[1:]
    requests = part.sample(MOST_SPREAD).requests(data)
    requests = requests.select(np.flatnonzero(requests.lengths > 0))
    if len(unseen) < 2 or not len(requests):
        return None
    chosen, own, alike = torch.from_numpy(unseen), list[Tensor](), list[Tensor]()
    vectors = likeness.of_catalog()[chosen]
    for some in chunks(len(requests), model.items.n):
        asked = requests.select(some)
        with torch.no_grad():
            own.append(model.score(asked).cpu()[:, chosen].std(1))
        alike.append((likeness.profiles(asked) @ vectors.T).std(1))
        on_step(some.stop, len(requests))
    spread = float(torch.cat(alike).mean())
    return (float(torch.cat(own).mean()), spread) if spread > 0 else None


def fit_shift(
    model: SequenceModel, data: Histories, part: Part, seen: str, cost: float, on_step: OnStep = silent
) -> float | None:
    """What the scores of unseen items are raised by, below 0 if lowered; None where the part can't say what that costs.

    Args:
        data: the whole data set, in whose columns the part's positions lie. part: the validation part.
        seen: `exclude` leaves the items of a request's history out of the ranking.
        cost: share of NDCG@10 that the trained items may lose to the others.
        on_step: progress of the targets that are scored.
    """
    above, gaps = _places(model, data, part, seen, on_step)
    if not np.isfinite(gaps).any():
        return None
    return largest_shift(above, gaps, cost) - MARGIN  # at a gap itself rounding decides who comes first


def largest_shift(above: Ints, gaps: Floats, cost: float) -> float:
    """The largest shift of the unseen items' scores that costs the targets at most a share of their NDCG@10.

    It is below 0 where the scores as they are cost more.

    Args:
        above: (T,) trained items that score higher than each target.
        gaps: (T, K) ascending: the target's score less those of the best unseen items, inf where there are fewer. A
            shift beyond a gap puts that item before the target.
    """
    wanted = (1 - cost) * float(_gain(above).mean())
    steps = np.unique(gaps[np.isfinite(gaps)])
    low, high = 0, len(steps) - 1
    while low < high:  # a gap itself is the last shift at which its item stays behind
        middle = (low + high + 1) // 2
        kept = float(_gain(above + (gaps < steps[middle]).sum(1)).mean())
        low, high = (middle, high) if kept >= wanted else (low, middle - 1)
    return float(steps[low])


def _gain(above: Ints) -> Floats:
    """(T,) NDCG@10 of targets with so many items above them."""
    return np.where(above < K, 1 / np.log2(np.minimum(above, K) + 2.0), 0.0)


def _places(model: SequenceModel, data: Histories, part: Part, seen: str, on_step: OnStep) -> tuple[Ints, Floats]:
    """`above` and `gaps`, as in `largest_shift`, of the targets that are trained items."""
    part = part.sample(MOST_REQUESTS)
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
        on_step(some.stop, len(row))
    return above[~excluded], gaps[~excluded]
