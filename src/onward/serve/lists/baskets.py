"""Groups of a history: the same that preparation makes of the same events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onward.data.sequences import Ints
from onward.serve.store.protocol import StoredHistory


def in_baskets(found: StoredHistory, names: Mapping[int, str]) -> tuple[StoredHistory, Ints]:
    """A history with the events of each basket together, as `data.arrange` has them.

    Baskets come by the time of their first event, which is that of all their events, then as the store got them; an
    event without one is a basket of its own.

    Args:
        names: seq -> name of its basket.

    Returns the history, and (n,) int64 number of each event's basket, ascending.
    """
    keys = [names.get(seq, seq) for seq in found.seqs.tolist()]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    basket = np.array([places[key] for key in keys], dtype=np.int64)
    first_time, first_seq = (np.full(len(places), np.iinfo(np.int64).max) for _ in range(2))
    np.minimum.at(first_time, basket, found.times)
    np.minimum.at(first_seq, basket, found.seqs)
    order = np.lexsort((found.seqs, first_seq[basket], first_time[basket]))
    basket = basket[order]
    return StoredHistory(
        found.items[order], first_time[basket], found.actions[order], found.values[order], found.seqs[order]
    ), runs(basket)


def runs(column: Ints) -> Ints:
    """(n,) int64 from 0: a new number wherever the column's value changes."""
    numbers: Ints = np.cumsum(np.diff(column, prepend=column[:1]) != 0)
    return numbers
