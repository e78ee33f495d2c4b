"""What a model answers to the requests of a period, in a table of one row a request."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.bundle import Bundle
from onward.data.arrays import Ints
from onward.data.dataset import Dataset
from onward.data.sequences import Histories
from onward.data.split import Part
from onward.evaluate.external import align
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.features.attach import histories_for

MAIN = "ndcg@10"
"""What policies are compared in."""
METRICS = (MAIN, "hr@10")


def answer(bundle: Bundle, dataset: Dataset, part: Part, seen: str) -> pl.DataFrame:
    """`ndcg@10`, `hr@10` and `cold`, the share of the targets that the model has never seen, of every request.

    Weights, statistics and candidates are the model's; histories are the users' up to each request, as a server that
    has an event store sees them, whenever the model was trained.

    Args:
        dataset: whole; the model may come from an earlier state of it, in which items have other indices.
        part: requests, in the positions of that dataset.
    """
    aligned, _ = align(dataset, bundle.catalog)
    ranks = rank_targets(bundle.model, histories_for(bundle.model, dataset, aligned), part, seen)
    values = request_metrics(ranks, (10,))
    cold = np.bincount(ranks.request, ranks.cold, len(ranks)) / ranks.size
    return pl.DataFrame({**{name: values[name] for name in METRICS}, "cold": cold})


def about_requests(
    data: Histories, part: Part, period: int, start: int, popularity: NDArray[np.float64]
) -> pl.DataFrame:
    """What is known of the requests of a period, whoever answers: `period`, `time`, `user`, `returning`, `popularity`.

    Args:
        start: of the period; who had an event before it is returning.
        popularity: (V + 1,) of each item, as `popularity_before` gives it; a request's is the mean of its targets'.
    """
    assert data.time is not None
    row, position = part.targets(data)
    popular = np.bincount(row, popularity[data.item[position]], len(part)) / np.bincount(row, minlength=len(part))
    return pl.DataFrame(
        {
            "period": np.full(len(part), period),
            "time": data.time[part.target_start],
            "user": part.user,
            "returning": data.time[data.start[part.user]] < start,
            "popularity": popular,
        }
    )


def popularity_before(data: Histories, until: int) -> NDArray[np.float64]:
    """(V + 1,) share of the events before an instant whose item had fewer events, ties by half; 0 without an event.

    Over the events before that instant it is 1/2 on average; below that, less popular items are asked for.
    """
    assert data.time is not None
    _, positions = data.positions()
    before = positions[np.asarray(data.time[positions]) < until]
    counts: Ints = np.bincount(data.item[before], minlength=data.n_items + 1)
    levels, level = np.unique(counts, return_inverse=True)
    events = levels * np.bincount(level)
    share = (np.cumsum(events) - events / 2) / max(int(events.sum()), 1)
    return np.where(counts > 0, share[level], 0.0)
