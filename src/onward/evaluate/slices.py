"""Buckets of requests: by the length of the history, by how often the target was seen in training, by its action."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Ints
from onward.evaluate.bootstrap import Floats, Statistic, means, user_sums
from onward.evaluate.ranking import Ranks

LENGTHS = (0, 1, 5, 10, 20, 50, 100)
"""First history length of each bucket; empty histories are the first."""
POPULARITY = ("head", "middle", "tail", "cold")
"""The most popular items that make up a third of the training events, the next third, the rest, never trained."""


def length_buckets(lengths: Ints) -> tuple[Ints, list[str]]:
    """(R,) bucket of each history, and the buckets' labels."""
    last = [following - 1 for following in LENGTHS[1:]]
    labels = [str(a) if a == b else f"{a}-{b}" for a, b in zip(LENGTHS, last, strict=False)]
    return np.searchsorted(LENGTHS, lengths, side="right") - 1, [*labels, f"{LENGTHS[-1]}+"]


def popularity_bands(train_counts: Ints) -> Ints:
    """(V + 1,) band of each item, an index into POPULARITY; items of equal count share a band."""
    counts, which = np.unique(train_counts, return_inverse=True)
    events = counts * np.bincount(which)
    more_popular = events.sum() - np.cumsum(events)  # training events of the items with a higher count
    bands = np.minimum(3 * more_popular // max(int(events.sum()), 1), 2)[which]
    return np.where(train_counts > 0, bands, POPULARITY.index("cold"))


def target_actions(row: Ints, code: Ints, requests: int, actions: Sequence[str]) -> tuple[Ints, list[str]]:
    """(R,) action of each request's targets, and the labels; the last is of requests with targets of several.

    Args:
        row, code: (E,) request and action of every target event; each of the requests has one or more.
    """
    least, most = np.full(requests, len(actions)), np.full(requests, -1)
    np.minimum.at(least, row, code)
    np.maximum.at(most, row, code)
    return np.where(least == most, least, len(actions)), [*actions, "several"]


def target_bands(ranks: Ranks, train_counts: Ints) -> Ints:
    """(R,) band of each request, that of its most popular target; targets outside the catalog are cold."""
    bands = np.append(popularity_bands(train_counts), POPULARITY.index("cold"))
    band = np.full(len(ranks), len(POPULARITY) - 1, dtype=np.int64)
    np.minimum.at(band, ranks.request, bands[np.minimum(ranks.item, len(train_counts))])
    return band


def slice_block(user: Ints, values: Floats, bucket: Ints) -> tuple[Floats, Statistic]:
    """What `bootstrap.intervals` needs for the means of (R, M) values in each bucket that occurs, in their order.

    The estimates come bucket by bucket, M each.
    """
    present = np.unique(bucket).tolist()
    width = values.shape[1] + 1
    parts = [_inside(user, values, bucket == number) for number in present]

    def statistic(totals: Floats) -> Floats:
        return np.concatenate([means(totals[:, i * width : (i + 1) * width]) for i in range(len(present))], axis=1)

    return np.concatenate(parts, axis=1), statistic


def _inside(user: Ints, values: Floats, mask: NDArray[np.bool_]) -> Floats:
    """User sums over the requests of a mask, and their number."""
    inside = mask[:, None].astype(np.float64)
    return user_sums(user, np.concatenate([values * inside, inside], axis=1))[:, :-1]
