"""Groups of stored events, such as baskets: what every event store must do."""

from __future__ import annotations

import numpy as np
from store_helpers import event, now

from onward.serve.store.protocol import Event, EventStore


def test_groups_are_told_by_seq(store: EventStore) -> None:
    store.append(
        [Event(f"g{n}", "ann", "tea", now(), group=group) for n, group in enumerate(("b'1", None, "ü", "b'1"))]
    )
    store.append([event(9, "bob")])
    seqs = store.history("ann", 10).seqs
    assert store.groups(seqs) == {int(seqs[0]): "b'1", int(seqs[2]): "ü", int(seqs[3]): "b'1"}
    assert store.groups(seqs[1:2]) == store.groups(np.zeros(0, np.int64)) == {}
