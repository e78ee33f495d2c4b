"""What a model answers to requests of a log that has grown since it was trained, in a table of one row a request."""

from __future__ import annotations

import numpy as np
import polars as pl

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.data.split import Part
from onward.evaluate.external import align
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import Progress, rank_targets
from onward.models.features.attach import histories_for

MAIN = "ndcg@10"
"""What models are compared in."""
METRICS = (MAIN, "hr@10")


def answer(bundle: Bundle, dataset: Dataset, part: Part, seen: str, progress: Progress | None = None) -> pl.DataFrame:
    """`ndcg@10`, `hr@10` and `cold`, the share of the targets that the model has never seen, of every request.

    Weights, statistics and candidates are the model's; histories are the users' up to each request, as a server that
    has an event store sees them, whenever the model was trained.

    Args:
        dataset: whole; the model may come from an earlier state of it, in which items have other indices.
        part: requests, in the positions of that dataset.
    """
    aligned, _ = align(dataset, bundle.catalog)
    ranks = rank_targets(bundle.model, histories_for(bundle.model, dataset, aligned), part, seen, progress=progress)
    values = request_metrics(ranks, (10,))
    cold = np.bincount(ranks.request, ranks.cold, len(ranks)) / ranks.size
    return pl.DataFrame({**{name: values[name] for name in METRICS}, "cold": cold})
