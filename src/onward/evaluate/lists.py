"""Properties of recommended lists, as pure functions of the lists: what accuracy doesn't say.

Lists are (R, k) int64 item indices, 0 where a list is shorter.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from onward.data.arrays import distinct
from onward.data.catalog import Catalog
from onward.data.sequences import Histories, Ints

_PAIRS = 1_000_000


def coverage(items: Ints, candidates: NDArray[np.bool_]) -> float:
    """Share of the candidates ((V + 1,) bool) that are in some list."""
    return len(distinct(items[items > 0])) / max(int(candidates.sum()), 1)


def gini(items: Ints, candidates: NDArray[np.bool_]) -> float:
    """Gini index of how often each candidate is listed: 0 when all equally often, near 1 when a few take all."""
    counts = np.sort(np.bincount(items[items > 0], minlength=len(candidates))[candidates])
    n, total = len(counts), int(counts.sum())
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total))


def novelty(items: Ints, train_counts: Ints) -> float:
    """Mean self-information in bits, -log2 of an item's share of the training events (Vargas and Castells, 2011)."""
    listed = items[items > 0]
    share = np.maximum(train_counts, 1) / max(int(train_counts.sum()), 1)
    return float(-np.log2(share[listed]).mean()) if len(listed) else 0.0


def popularity_lift(items: Ints, histories: Histories, train_counts: Ints) -> float:
    """How much more popular lists are than the histories they answer: 0 the same, 1 twice as popular.

    Mean training events of the listed items over that of the history's items, each averaged by request, less one
    (Abdollahpouri, Mansoury, Burke and Mobasher, 2020). Empty histories and empty lists don't count.
    """
    running = np.concatenate([[0], np.cumsum(train_counts[histories.item])])
    of_history = (running[histories.end] - running[histories.start]) / np.maximum(histories.lengths, 1)
    size = (items > 0).sum(axis=1)
    of_list = np.where(items > 0, train_counts[items], 0).sum(axis=1) / np.maximum(size, 1)
    both = (histories.lengths > 0) & (size > 0)
    below = float(of_history[both].sum())
    return float(of_list[both].sum()) / below - 1.0 if below > 0 else 0.0


def diversity(items: Ints, features: sparse.csr_array) -> float:
    """Intra-list diversity: mean Jaccard distance of the feature sets of the pairs in a list, averaged over lists.

    Args:
        features: (V + 1, F), 1 where an item has a feature; a pair of items without any counts as alike.
    """
    first, second = np.triu_indices(items.shape[1], 1)
    left, right = items[:, first], items[:, second]
    real = (left > 0) & (right > 0)
    row = np.nonzero(real)[0]
    width = features.shape[0]
    low, high = np.minimum(left, right)[real], np.maximum(left, right)[real]
    pairs, which = np.unique(low * width + high, return_inverse=True)
    distance = np.concatenate(
        [_jaccard(features, pairs[i : i + _PAIRS]) for i in range(0, len(pairs), _PAIRS)] or [np.zeros(0)]
    )
    size = np.bincount(row, minlength=len(items))
    total = np.bincount(row, distance[which], len(items))
    return float((total[size > 0] / size[size > 0]).mean()) if len(row) else 0.0


def _jaccard(features: sparse.csr_array, pairs: Ints) -> NDArray[np.float64]:
    a, b = features[pairs // features.shape[0]], features[pairs % features.shape[0]]
    common = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    either = np.asarray(a.sum(axis=1)).ravel() + np.asarray(b.sum(axis=1)).ravel() - common
    return 1.0 - np.where(either > 0, common / np.maximum(either, 1), 1.0)


def feature_sets(catalog: Catalog) -> tuple[str, sparse.csr_array] | None:
    """The catalog's first column of sets, or else of categories, as (name, (V + 1, F) 0/1 matrix); None without one.

    Titles and texts that are nearly all different say nothing about likeness and don't count.
    """
    name = _feature_column(catalog)
    if name is None:
        return None
    frame = catalog.frame.select(row=pl.int_range(1, len(catalog) + 1), value=pl.col(name))
    if isinstance(frame["value"].dtype, pl.List):
        frame = frame.explode("value")
    frame = frame.drop_nulls().unique()
    codes = frame["value"].cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    rows = frame["row"].to_numpy()
    shape = (len(catalog) + 1, int(codes.max(initial=-1)) + 1)
    return name, sparse.csr_array((np.ones(len(rows)), (rows, codes)), shape=shape)


def _feature_column(catalog: Catalog) -> str | None:
    columns = [c for c in catalog.frame.columns[1:] if c != catalog.title_column and not c.startswith("_")]
    sets = [c for c in columns if isinstance(catalog.frame[c].dtype, pl.List)]
    texts = [c for c in columns if catalog.frame[c].dtype in (pl.String, pl.Categorical)]
    shared = [c for c in texts if 1 < catalog.frame[c].n_unique() <= len(catalog) / 4]
    return next(iter(sets + shared), None)
