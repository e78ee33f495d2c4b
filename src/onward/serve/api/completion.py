"""From threads to the event loop: many answers that are done together wake the loop once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

T = TypeVar("T")


class Completions:
    """Awaits futures that other threads set. `asyncio.wrap_future` wakes the loop for each of them; this for a batch.

    Args:
        loop: whose coroutines wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._done: deque[Callable[[], None]] = deque()
        self._woken = False

    async def wait(self, future: futures.Future[T]) -> T:
        """The future's result. Cancelling the wait leaves the work of the other thread alone."""
        waiter: asyncio.Future[None] = self.loop.create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        def done(_: Any) -> None:
            self._done.append(wake)
            if not self._woken:  # two threads may both see False: one wake-up too many, never one too few
                self._woken = True
                self.loop.call_soon_threadsafe(self._wake_all)

        future.add_done_callback(done)
        await waiter
        return future.result()

    def _wake_all(self) -> None:
        self._woken = False  # before the queue is emptied: what is added from here on wakes the loop again
        while self._done:
            self._done.popleft()()
