"""Lists that were answered: sampled, buffered and written with the next commit, or at once where they must be kept."""

from __future__ import annotations

import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence

from onward.serve.settings import ImpressionsConfig
from onward.serve.store.attribution import attribute
from onward.serve.store.database import Transaction, advance, pack
from onward.serve.store.ingest import text_problem
from onward.serve.store.tombstones import Tombstones
from onward.serve.store.values import MAX_ID_BYTES, Impression

FLUSHED = 2_000
"""Lists written with one commit, at most."""


class ImpressionLog:
    """The lists of one process that are to be written.

    A list is logged or not by a hash of its request id, so that every worker, and what a client says was shown,
    decide alike; the share is recorded with each list.
    """

    def __init__(self, config: ImpressionsConfig, tombstones: Tombstones) -> None:
        self._config = config
        self._tombstones = tombstones
        self._waiting: deque[Impression] = deque()
        self._lost = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def lost(self) -> int:
        """Lists that the full buffer could not take and that are not in the store's count yet."""
        return self._lost

    @property
    def window(self) -> int:
        """Microseconds after its list in which a click counts."""
        return int(self._config.click_hours * 3_600_000_000)

    def sampled(self, request_id: str) -> bool:
        """Whether the list of this request is logged."""
        return zlib.crc32(request_id.encode()) < self._config.sample * 2**32

    def add(self, impressions: Sequence[Impression]) -> None:
        """Take lists to be written soon; those that find the buffer full, or can't be stored, are counted as lost."""
        chosen = [one for one in impressions if self.sampled(one.request_id)]
        sound = [one for one in chosen if _is_sound(one)]  # nobody could be told later, and others wait behind it
        with self._lock:
            room = max(0, self._config.buffer - len(self._waiting))
            self._waiting.extend(sound[:room])
            self._lost += len(chosen) - len(sound[:room])

    def flush(self, transaction: Transaction) -> Callable[[], None]:
        """Write what waits; the returned function takes it off the buffer once the transaction is committed."""
        with self._lock:
            taken = [self._waiting[place] for place in range(min(FLUSHED, len(self._waiting)))]
            lost = self._lost
        if taken:
            self.write(transaction, taken, self._config.sample)
        if lost:
            advance(transaction, "impressions_lost", lost)

        def done() -> None:
            with self._lock:
                for _ in taken:
                    self._waiting.popleft()
                self._lost -= lost

        return done

    def write(self, transaction: Transaction, impressions: Sequence[Impression], sample: float) -> None:
        """Write lists, and count the clicks that came before them. A request that is there stays as it is."""
        kept = self._not_forgotten(transaction, impressions)
        rows = [
            (
                one.request_id,
                one.user,
                one.time,
                one.model,
                one.policy,
                json.dumps(one.items, ensure_ascii=False),
                None if one.propensities is None else json.dumps(one.propensities),
                sample,
            )
            for one in kept
        ]
        transaction.run(_INSERT, (pack(rows),))
        attribute(transaction, [one.request_id for one in kept], self.window)

    def _not_forgotten(self, transaction: Transaction, impressions: Sequence[Impression]) -> Sequence[Impression]:
        """Without the lists that waited, in this process or another, while their user was forgotten."""
        first = min((one.time for one in impressions), default=0)
        if not self._tombstones.any_since(transaction, first):
            return impressions
        forgotten = self._tombstones.times(transaction, {one.user for one in impressions if one.user}, first)
        return [one for one in impressions if one.user is None or one.time > forgotten.get(one.user, -1)]


def _is_sound(one: Impression) -> bool:
    texts = (one.request_id, one.user or "nobody", one.model, one.policy, *one.items)
    whole = "".join(texts)
    if whole.isascii() and "\0" not in whole and len(whole) <= MAX_ID_BYTES and all(texts):
        return True  # nearly always, and this is done for every list
    return not any(text_problem(text, needed=True) for text in texts)


_INSERT = """
INSERT INTO impressions(request_id, user_id, time, model, policy, items, propensities, sample)
SELECT given.value ->> 0, given.value ->> 1, CAST(given.value ->> 2 AS {int}), given.value ->> 3, given.value ->> 4,
    given.value ->> 5, given.value ->> 6, CAST(given.value ->> 7 AS {real})
FROM {rows} WHERE TRUE ON CONFLICT (request_id) DO NOTHING"""


def record_shown(transaction: Transaction, request_id: str, user: str | None, items: Sequence[str], now: int) -> None:
    """Keep that a client showed these items of a list; a repetition changes nothing."""
    transaction.run(
        "INSERT INTO shown(request_id, user_id, time, items) VALUES (?, ?, ?, ?) ON CONFLICT (request_id) DO NOTHING",
        (request_id, user, now, json.dumps(list(items), ensure_ascii=False)),
    )
