"""Retention at intervals: one thread a process, and of all processes of a store one at a time has its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from onward.errors import StoreError
from onward.serve.settings import RetentionConfig
from onward.serve.store.database import Transaction, counter

_HOUR = 3_600_000_000


class Housekeeper:
    """Calls a function every so many hours, unless another process of the store did.

    Args:
        take_turn: whether it is this process's turn; asked before each call.
        retain: removes what is too old or too much.
    """

    def __init__(self, hours: float, take_turn: Callable[[], bool], retain: Callable[[], object]) -> None:
        self._seconds = hours * 3_600
        self._take_turn = take_turn
        self._retain = retain
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onward-store-retention", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with suppress(StoreError):  # the disk is full, the database gone: the next turn tries again
                if self._take_turn():
                    self._retain()
            if self._stop.wait(self._seconds):
                return

    def close(self) -> None:
        """Stop, and wait for a call that is under way."""
        self._stop.set()
        self._thread.join()


def take_turn(transaction: Transaction, config: RetentionConfig, now: int) -> bool:
    """Whether the last turn of any process was long enough ago; if so, this is the next one."""
    last = counter(transaction, "retained")
    if last <= now < last + int(config.every_hours * _HOUR):
        return False
    transaction.run(
        "INSERT INTO counters(name, value) VALUES ('retained', ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (now,),
    )
    return True
