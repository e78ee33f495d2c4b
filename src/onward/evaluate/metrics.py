"""Ranking metrics of each request, as pure functions of ranks; ties by exact expectation.

A metric is its mean over all orders of each tie, every order equally likely, so that a constant model scores
like a random one (McSherry and Najork, "Computing information retrieval performance measures efficiently in the
presence of tied scores", ECIR 2008). Sets of targets: with s targets in a request,

- hr@k         1 when a target is among the first k
- recall@k     targets among the first k, over s
- precision@k  targets among the first k, over k
- f1@k         harmonic mean of the two, which is 2 x targets among the first k / (k + s)
- ndcg@k       sum of 1 / log2(1 + rank) over targets among the first k, over the best possible with min(k, s)
- mrr@k        1 / rank of the first target, 0 beyond k
- map@k        sum over targets among the first k of the precision at their rank, over min(k, s)
- accuracy@1   1 when the first item is a target

With one target each, recall is the hit rate and MAP is MRR. Every function gives (R,) float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from onward.evaluate.ranking import Ranks

Floats = NDArray[np.float64]


def hit_rate(ranks: Ranks, k: int) -> Floats:
    """Probability that a target is among the first k."""
    together, _ = _ties(ranks)
    places = _places(ranks, k)
    # at most one tie lies across place k: none of its t targets falls on m of its e places (hypergeometric)
    missed = np.ones(len(ranks.request))
    for taken in range(int(places.max(initial=0))):
        left = np.maximum(ranks.tied - together - taken, 0) / np.maximum(ranks.tied - taken, 1)
        missed = np.where(taken < places, missed * left, missed)
        if not missed.any():
            break
    best = np.zeros(len(ranks))
    np.maximum.at(best, ranks.request, 1.0 - missed)
    return best


def recall(ranks: Ranks, k: int) -> Floats:
    """Expected share of the targets among the first k."""
    value: Floats = _found(ranks, k) / ranks.size
    return value


def precision(ranks: Ranks, k: int) -> Floats:
    """Expected share of targets in the first k places."""
    return _found(ranks, k) / k


def f1(ranks: Ranks, k: int) -> Floats:
    """Expected harmonic mean of precision and recall."""
    value: Floats = 2.0 * _found(ranks, k) / (k + ranks.size)
    return value


def ndcg(ranks: Ranks, k: int) -> Floats:
    """Expected normalised discounted cumulative gain (Järvelin and Kekäläinen, TOIS 2002) with binary gains."""
    gains = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
    ideal: Floats = gains[np.minimum(k, ranks.size)]
    return _sum(ranks, _mean_over_tie(ranks, k, gains)) / ideal


def mrr(ranks: Ranks, k: int) -> Floats:
    """Expected reciprocal rank of the first target."""
    together, before = _ties(ranks)
    first = (before == 0) & (ranks.tied > 0)  # the tie that holds the request's first target
    above, tied, t = ranks.above[first], ranks.tied[first], together[first]
    chance = t / tied  # that the first of t targets falls on place 1 of the tie; then on 2, 3...
    value = np.zeros(len(t))
    for place in range(1, int(_places(ranks, k).max(initial=0)) + 1):
        value += np.where(above + place <= k, chance / (above + place), 0.0)
        chance = chance * np.maximum(tied - place - t + 1, 0) / np.maximum(tied - place, 1)
    best = np.zeros(len(ranks))
    best[ranks.request[first]] = value  # the same value for every target of that tie
    return best


def average_precision(ranks: Ranks, k: int) -> Floats:
    """Expected average precision at k, over min(k, targets)."""
    together, before = _ties(ranks)
    places = _places(ranks, k)
    tied = np.maximum(ranks.tied, 1)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, k + 1))])
    above = np.minimum(ranks.above, k)
    inverse = harmonic[above + places] - harmonic[above]  # sum of 1 / rank over the places
    # a target at place j of its tie has before + (j - 1)(t - 1) / (e - 1) other targets in front, on average
    slope = (together - 1) / np.maximum(tied - 1, 1)
    value = ((before + 1) * inverse + slope * (places - (above + 1) * inverse)) / tied
    return _sum(ranks, value) / np.minimum(k, ranks.size)


AT_K: dict[str, Callable[[Ranks, int], Floats]] = {
    "ndcg": ndcg,
    "hr": hit_rate,
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "mrr": mrr,
    "map": average_precision,
}


def request_metrics(ranks: Ranks, ks: Iterable[int]) -> dict[str, Floats]:
    """Every metric at every k, and accuracy@1: name -> (R,) values."""
    values = {f"{name}@{k}": metric(ranks, k) for k in ks for name, metric in AT_K.items()}
    return values | {"accuracy@1": hit_rate(ranks, 1)}


def _places(ranks: Ranks, k: int) -> NDArray[np.int64]:
    """(T,) places of each target's tie that are among the first k."""
    return np.clip(k - ranks.above, 0, ranks.tied)


def _found(ranks: Ranks, k: int) -> Floats:
    """(R,) expected targets among the first k."""
    return _sum(ranks, _places(ranks, k) / np.maximum(ranks.tied, 1))


def _mean_over_tie(ranks: Ranks, k: int, cumulative: Floats) -> Floats:
    """(T,) mean over a target's possible ranks of a value by rank, given its (k + 1,) running sums."""
    last, first = np.minimum(ranks.above + ranks.tied, k), np.minimum(ranks.above, k)
    value: Floats = (cumulative[last] - cumulative[first]) / np.maximum(ranks.tied, 1)
    return value


def _sum(ranks: Ranks, values: Floats) -> Floats:
    """(R,) sums of (T,) values by request."""
    # without any target bincount ignores the weights and counts in integers
    return np.bincount(ranks.request, weights=values, minlength=len(ranks)).astype(np.float64)


def _ties(ranks: Ranks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each target: the targets in its tie (itself included), and the request's targets above that tie."""
    if len(ranks.request) == len(ranks):  # one target each, the common case
        return np.ones(len(ranks), dtype=np.int64), np.zeros(len(ranks), dtype=np.int64)
    found = np.flatnonzero(ranks.tied > 0)
    order = found[np.lexsort((ranks.above[found], ranks.request[found]))]
    request, above = ranks.request[order], ranks.above[order]
    number = np.arange(len(order))
    new_request = np.append(True, request[1:] != request[:-1])[: len(order)]
    new_tie = new_request | np.append(True, above[1:] != above[:-1])[: len(order)]
    first_of_tie = np.maximum.accumulate(np.where(new_tie, number, 0))
    first_of_request = np.maximum.accumulate(np.where(new_request, number, 0))
    together, before = np.ones(len(ranks.request), np.int64), np.zeros(len(ranks.request), np.int64)
    tie = np.cumsum(new_tie) - 1
    together[order] = np.bincount(tie)[tie]
    before[order] = first_of_tie - first_of_request
    return together, before
