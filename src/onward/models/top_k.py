"""From scores to lists: the best items of each row, ties in a stated order.

Shapes: B rows, V items, k list length; scores have V + 1 columns, of which 0 is padding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Histories, Ints

CHUNK_SCORES = 16_000_000
"""Scores a thread holds at once, about (64 MB of float32)."""


def chunks(rows: int, n_items: int) -> list[slice]:
    """Slices of rows so that a chunk's scores fit in memory, if a few rows do: one alone would read all of a table."""
    size = max(8, min(1024, CHUNK_SCORES // (n_items + 1)))
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def mask_scores(scores: Tensor, exclude: Histories | None, candidates: NDArray[np.bool_]) -> Tensor:
    """Set what can't be recommended to -inf, in place: padding, non-candidates, and each row's items of `exclude`."""
    unwanted = ~candidates
    unwanted[0] = True
    if exclude is not None and len(exclude) == 1:  # one mask is then enough
        unwanted[exclude.item[exclude.start[0] : exclude.end[0]]] = True
        exclude = None
    if scores.device.type == "cpu":  # of one row in half the time that masked_fill_ takes
        np.copyto(scores.numpy(), -np.inf, where=unwanted)
    else:
        scores.masked_fill_(torch.from_numpy(unwanted).to(scores.device), -torch.inf)
    if exclude is not None:
        rows, positions = exclude.positions()
        places = rows * scores.shape[1] + exclude.item[positions]
        scores.view(-1).index_fill_(0, torch.from_numpy(places).to(scores.device), -torch.inf)
    return scores


def top_k(scores: Tensor, k: int, tie_rank: NDArray[np.int32]) -> tuple[Ints, NDArray[np.float32]]:
    """The k best columns of each row, ties ordered by `tie_rank`: (B, k) int64 items and (B, k) float32 scores.

    Places that no item can fill (-inf) hold item 0.
    """
    size = min(k + 1, scores.shape[1])
    values, found = (part.cpu().numpy() for part in torch.topk(scores, size, dim=1))
    if (values[:, 1:] == values[:, :-1]).any():
        if size == k + 1:
            # a tie that straddles the edge: which of its members topk took is arbitrary, so choose them by tie_rank
            cut = np.flatnonzero((values[:, k - 1] == values[:, k]) & np.isfinite(values[:, k]))
            if len(cut):
                found[cut] = _by_tie_rank(scores[torch.from_numpy(cut)].cpu(), values[cut], found[cut], tie_rank)
        by_tie = np.lexsort((tie_rank[found], -values), axis=1)[:, :k]
        values, found = np.take_along_axis(values, by_tie, 1), np.take_along_axis(found, by_tie, 1)
    values, found = values[:, :k], found[:, :k]
    found = np.where(values == -np.inf, 0, found)
    if found.shape[1] == k:
        return found, values
    missing = ((0, 0), (0, k - found.shape[1]))
    return np.pad(found, missing), np.pad(values, missing, constant_values=-np.inf)


def _by_tie_rank(scores: Tensor, values: NDArray[np.float32], found: Ints, tie_rank: NDArray[np.int32]) -> Ints:
    """The (n, k + 1) best columns of (n, V + 1) scores, the members of the k-th's tie chosen by `tie_rank`."""
    k = found.shape[1] - 1
    edge = values[:, k, None]
    tied = scores == torch.from_numpy(edge)
    key = torch.where(tied, torch.from_numpy(tie_rank), np.iinfo(np.int32).max)
    chosen = torch.topk(key, k + 1, largest=False).indices.numpy()
    above = (values > edge).sum(axis=1, keepdims=True)
    place = np.arange(k + 1)
    return np.where(place < above, found, np.take_along_axis(chosen, np.maximum(place - above, 0), 1))
