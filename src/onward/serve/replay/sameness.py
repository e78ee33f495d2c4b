"""Whether two answers to the same request are the same list: what rounding may change, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Ints
from onward.models.base import Bools

TOLERANCE = 1e-5
"""Scores that differ by less than this share of a list's largest are near-ties: the shape of a batch, or ONNX Runtime,
changes the last digits of sums."""
_ROWS = 4_096

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sameness:
    """What comparing lists came to, for each of (R,) requests.

    Attributes:
        same: scores agree, and items differ only inside near-ties.
        reordered: the same, but some near-tie stands in another order.
        distance: float64, largest difference of a score, as a share of the list's largest.
    """

    same: Bools
    reordered: Bools
    distance: NDArray[np.float64]


def compare_lists(
    items: Ints, scores: Floats, other_items: Ints, other_scores: Floats, other_filled: Bools
) -> Sameness:
    """Compare lists with those of a reference.

    Args:
        items, scores: (R, D) the reference, best first; 0 and -inf where no more can be recommended.
        other_items, other_scores: (R, k) the lists to judge, k at most D; 0 and -inf past the end of a short one. What
            the reference holds below k tells near-ties at the edge.
        other_filled: (R, k) places that popularity filled in. They count only where the reference has an item.
    """
    pieces = [slice(first, first + _ROWS) for first in range(0, len(items), _ROWS)]
    parts = [
        _compare(items[rows], scores[rows], other_items[rows], other_scores[rows], other_filled[rows])
        for rows in pieces
    ]
    if not parts:
        return Sameness(np.zeros(0, np.bool_), np.zeros(0, np.bool_), np.zeros(0))
    same, reordered, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Sameness(same, reordered, distance)


def _compare(
    items: Ints, scores: Floats, other_items: Ints, other_scores: Floats, other_filled: Bools
) -> tuple[Bools, Bools, NDArray[np.float64]]:
    k = other_items.shape[1]
    wanted = scores[:, :k].astype(np.float64)
    empty = items[:, :k] == 0
    size = np.where(np.isfinite(scores), np.abs(scores), 0.0).max(axis=1, initial=0.0)[:, None]
    limit = TOLERANCE * np.maximum(size, np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore"):  # -inf less -inf, where both lists are at their end
        apart = np.where(empty, 0.0, np.abs(other_scores - wanted))
        moved = (other_items != items[:, :k]) & ~empty
        near = np.abs(_own_scores(items, scores, other_items) - wanted) <= limit
    ordered = np.sort(other_items, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any(axis=1)
    ended = other_filled | (other_items == 0)
    same = np.where(empty, ended, (apart <= limit) & (~moved | near)).all(axis=1) & ~twice
    return same, same & moved.any(axis=1), (apart / np.maximum(size, np.finfo(np.float32).tiny)).max(axis=1)


def _own_scores(items: Ints, scores: Floats, other_items: Ints) -> NDArray[np.float64]:
    """(R, k) the reference's score of each of the other list's items; its last one for an item that it doesn't hold,
    whose score is no larger."""
    place = other_items[:, :, None] == items[:, None, :]
    at = np.where(place.any(axis=2), place.argmax(axis=2), items.shape[1] - 1)
    return np.take_along_axis(scores, at, axis=1).astype(np.float64)
