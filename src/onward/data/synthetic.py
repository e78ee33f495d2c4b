"""Generated event logs whose best answer is known: for tests, examples and benchmarks.

Every function gives a frame with columns `user`, `item` (integers from 0) and `time` (int64 epoch seconds), in time
order, and the same frame for the same seed.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.sequences import Histories

START = 1_600_000_000
"""First second of every log (2020-09-13)."""


def chain_events(users: int, items: int, length: int, noise: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """After item i comes item i + 1 (the last is followed by 0), except for a share `noise` of random jumps.

    A model of order finds the next item of a share 1 - noise (+ noise / items) of the events; popularity finds
    1 in `items`.
    """
    random = np.random.default_rng(seed)
    step = np.where(random.random((users, length)) < noise, random.integers(0, items, (users, length)), 1)
    step[:, 0] = random.integers(0, items, users)
    return _frame(np.cumsum(step, axis=1) % items, random)


def block_events(
    users: int, blocks: int, block_items: int, length: int, noise: float = 0.0, seed: int = 0
) -> pl.DataFrame:
    """Each user takes `length` different items of one block, in random order; a share `noise` comes from anywhere.

    Item i is in block i // block_items. The items that go with a history are the other items of its block.
    """
    random = np.random.default_rng(seed)
    within = np.argsort(random.random((users, block_items)), axis=1)[:, :length]
    chosen = random.integers(0, blocks, (users, 1)) * block_items + within
    anywhere = random.integers(0, blocks * block_items, chosen.shape)
    return _frame(np.where(random.random(chosen.shape) < noise, anywhere, chosen), random)


def drifting_events(
    users: int, items: int, length: int, later: int, drift: float, noise: float = 0.2, seed: int = 0
) -> pl.DataFrame:
    """Walks on items, each with two that mostly follow it; later a share of them has others.

    A step goes to the first of the two with probability 0.6 (1 - noise), to the second with 0.4 (1 - noise), else
    anywhere. For the last `later` events of each user a share `drift` of the items, two or more, has the followers of
    each other. The instant between is `drift_instant(users, length)`. Each item follows two others all the time, so
    that all are equally popular, and nothing but their order is there to learn.
    """
    random = np.random.default_rng(seed)
    before = np.stack([random.permutation(items), random.permutation(items)], axis=1)
    after = before.copy()
    changed = random.permutation(items)[: round(drift * items)]
    after[changed] = before[np.roll(changed, 1)]
    walk = np.zeros((users, length + later), dtype=np.int64)
    walk[:, 0] = random.integers(0, items, users)
    for step in range(1, length + later):
        table = before if step < length else after
        which = (random.random(users) < 0.4).astype(np.int64)
        follows = table[walk[:, step - 1], which]
        walk[:, step] = np.where(random.random(users) < noise, random.integers(0, items, users), follows)
    frame = pl.DataFrame({"user": np.repeat(np.arange(users), length + later), "item": walk.ravel()})
    time = START + np.arange(length + later) * users + random.permutation(users)[:, None]
    return frame.with_columns(time=pl.Series(time.ravel())).sort("time", "user")


def drift_instant(users: int, length: int) -> int:
    """The second from which on `drifting_events` follows other rules."""
    return START + length * users


def zipf_events(events: int, users: int, items: int, exponent: float = 1.1, seed: int = 0) -> pl.DataFrame:
    """A large random log: items by a Zipf law (item 0 the most popular), users by a flatter one; with ratings.

    Adds a column `rating` (1.0 to 5.0). There is nothing to learn but popularity.
    """
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": _zipf(random, events, users, 0.5),
            "item": _zipf(random, events, items, exponent),
            "time": START + np.sort(random.integers(0, 365 * 86400, events)),
            "rating": random.integers(1, 6, events).astype(np.float64),
        }
    )


def as_histories(events: pl.DataFrame) -> Histories:
    """The same log as histories, without preparing: item i has index i + 1, times are in microseconds."""
    ordered = events.sort("user", "time", maintain_order=True)
    item = ordered["item"].to_numpy().astype(np.int32) + 1
    time = ordered["time"].to_numpy() * 1_000_000
    end = np.cumsum(np.bincount(ordered["user"].to_numpy()))
    return Histories({"item": item, "time": time}, np.concatenate([[0], end[:-1]]), end, int(item.max()))


def _frame(items: NDArray[np.int64], random: np.random.Generator) -> pl.DataFrame:
    """(users, length) items to rows in time order, no two at one time."""
    users, length = items.shape
    frame = pl.DataFrame({"user": np.repeat(np.arange(users), length), "item": items.ravel()})
    # users start at different moments, so that a cut in time falls into every part of their histories
    first = random.integers(0, length, (users, 1)) * users + random.permutation(users)[:, None]
    time = START + (first + np.arange(length) * users).ravel()
    return frame.with_columns(time=pl.Series(time)).sort("time", "user")


def _zipf(random: np.random.Generator, size: int, n: int, exponent: float) -> NDArray[np.int64]:
    weights = np.arange(1, n + 1) ** -exponent
    edges = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(edges, random.random(size)), n - 1)
