"""Who was active lately, for those who want to be somebody."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from onward.serve.api.schemas import SESSION
from onward.serve.store.protocol import EventStore

LOOKED_AT = 500
"""Newest events that are looked at, at most."""
KEPT = 20


@dataclass(frozen=True)
class Seen:
    """A user, with the newest event."""

    user: str
    item: str
    time: int


class Recent:
    """The users of a store's newest events.

    Args:
        store: whose events are followed.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._cursor: int | None = None
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def everyone(self) -> list[Seen]:
        """Users and visitors by when the store heard of them, latest first."""
        with self._lock:
            self._follow()
            return list(reversed(self._seen.values()))

    def users(self) -> list[str]:
        """Their ids, anonymous visitors aside."""
        return [seen.user for seen in self.everyone() if not seen.user.startswith(SESSION)]

    def _follow(self) -> None:
        if self._cursor is None:
            self._cursor = max(0, self._store.last_seq() - LOOKED_AT)
        events, cursor = self._store.since(self._cursor, LOOKED_AT)
        # after a burst only its end matters: the next look starts near the newest event again
        self._cursor = None if len(events) == LOOKED_AT else cursor
        for event in events:
            self._seen.pop(event.user, None)
            self._seen[event.user] = Seen(event.user, event.item, event.time)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
