"""Histories as sparse matrices, shared by the models that count who had what.

B histories, V items; column j is item index j, column 0 stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from onward.data.sequences import Histories, Ints

Matrix: TypeAlias = Any
"""A scipy.sparse.csr_array; scipy is not typed."""
Floats = NDArray[np.float32]


def counts(histories: Histories) -> Matrix:
    """(B, V + 1) float32: how often each history has each item; columns ascend within a row."""
    rows, positions = histories.positions()
    return weighted(histories, rows, positions, np.ones(len(rows), dtype=np.float32))


def weighted(histories: Histories, rows: Ints, positions: Ints, weights: Floats) -> Matrix:
    """(B, V + 1) float32: the sum of the weights of each item's events in each history."""
    shape = (len(histories), histories.n_items + 1)
    # built from coordinates, so events of one item add up and the columns of a row ascend
    return sparse.csr_array((weights, (rows, histories.item[positions])), shape=shape, dtype=np.float32)


def group_numbers(histories: Histories, rows: Ints, positions: Ints) -> tuple[Ints, Ints]:
    """A running number of the group of every event, and the history that each number belongs to."""
    group = histories.groups()[positions]
    starts = np.ones(len(rows), dtype=np.bool_)
    starts[1:] = (rows[1:] != rows[:-1]) | (group[1:] != group[:-1])
    return np.cumsum(starts) - 1, rows[starts]


def had(histories: Histories) -> Matrix:
    """(B, V + 1) float32: 1 where the history has the item, however often."""
    matrix = counts(histories)
    matrix.data[:] = 1
    return matrix


def recent(histories: Histories, half_life: float) -> Matrix:
    """(B, V + 1) float32: the sum of the weights of each item's events, an event counting half after `half_life` more.

    Events of a group are of one age, so that the order inside a basket changes nothing. A half-life of 0: 1 where the
    history has the item, however often.
    """
    if half_life == 0:
        return had(histories)
    rows, positions = histories.positions()
    group, owner = group_numbers(histories, rows, positions)
    newest = np.searchsorted(owner, rows, side="right") - 1
    age = newest - group
    return weighted(histories, rows, positions, np.exp2(-age / half_life).astype(np.float32))


def scale_rows(matrix: Matrix, factors: NDArray[np.floating]) -> Matrix:
    """A copy with row r multiplied by `factors[r]`."""
    scaled = matrix.copy()
    scaled.data *= np.repeat(factors.astype(matrix.dtype), np.diff(matrix.indptr))
    return scaled


def prune(matrix: Matrix, k: int, tie_rank: NDArray[np.integer]) -> Matrix:
    """The k largest entries of each row; of equal ones those whose column comes first by `tie_rank`."""
    keep = np.ones(matrix.nnz, dtype=np.bool_)
    for row in np.flatnonzero(np.diff(matrix.indptr) > k):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        keep[span] = _largest(matrix.data[span], k, tie_rank[matrix.indices[span]])
    indptr = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr]
    return sparse.csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


def _largest(values: NDArray[np.floating], k: int, ties: NDArray[np.integer]) -> NDArray[np.bool_]:
    edge = np.partition(values, len(values) - k)[len(values) - k]
    mask: NDArray[np.bool_] = values > edge
    tied = np.flatnonzero(values == edge)
    mask[tied[np.argsort(ties[tied], kind="stable")[: k - mask.sum()]]] = True
    return mask


def to_state(matrix: Matrix) -> dict[str, Tensor]:
    """A sparse matrix as tensors: `starts` (rows + 1,) int64, `columns` (n,) int32, `values` (n,) float32."""
    return {
        "starts": torch.from_numpy(matrix.indptr.astype(np.int64)),
        "columns": torch.from_numpy(matrix.indices.astype(np.int32)),
        "values": torch.from_numpy(matrix.data.astype(np.float32)),
    }


def from_state(state: Mapping[str, Tensor], n_columns: int) -> Matrix:
    """The sparse matrix that `to_state` gave."""
    starts, columns, values = (state[name].numpy() for name in ("starts", "columns", "values"))
    return sparse.csr_array((values, columns, starts), shape=(len(starts) - 1, n_columns))


def dense(matrix: Matrix) -> Tensor:
    """The matrix as a dense float32 tensor."""
    return torch.from_numpy(matrix.astype(np.float32).toarray())
