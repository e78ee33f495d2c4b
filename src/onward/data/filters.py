"""Filters over a whole log: k-core and minimum length. They look at the future, so they are off by default."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onward.errors import DataError


def keep_mask(
    user: NDArray[np.int32], item: NDArray[np.int32], min_user_events: int, min_item_events: int, min_length: int
) -> NDArray[np.bool_]:
    """(N,) bool: events that stay.

    Users with fewer than `min_user_events` and items with fewer than `min_item_events` go, again and again until
    none is left (the k-core); then, once, users with fewer than `min_length` events.

    Raises:
        DataError: no event stays.
    """
    keep = np.ones(len(user), dtype=np.bool_)
    while True:
        before = int(keep.sum())
        if min_item_events > 1:
            keep &= _often(item, keep, min_item_events)
        if min_user_events > 1:
            keep &= _often(user, keep, min_user_events)
        if int(keep.sum()) == before:
            break
    if min_length > 1:
        keep &= _often(user, keep, min_length)
    if not keep.any():
        raise DataError(
            f"the filters leave none of the {len(user):,} events",
            "lower --min-user-events, --min-item-events or --min-length",
        )
    return keep


def _often(key: NDArray[np.int32], keep: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    counts = np.bincount(key[keep], minlength=int(key.max()) + 1)
    return np.asarray(counts[key] >= least)


def renumber(key: NDArray[np.int32], n: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Old numbers that occur, ascending, and the (n,) int32 new number of each old one (-1 where it doesn't occur)."""
    used = np.flatnonzero(np.bincount(key, minlength=n))
    new = np.full(n, -1, dtype=np.int32)
    new[used] = np.arange(len(used), dtype=np.int32)
    return used, new
