"""From threads to the event loop: many answers that are done together wake the loop once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
Done = Callable[[T | Exception], None]
"""What is told a result, or what went wrong."""


class Completions:
    """Brings results from other threads. A future for each would cost more than most of them, and wake the loop for it.

    Args:
        loop: that the results are wanted on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._results: deque[tuple[Done[Any], Any]] = deque()
        self._woken = False

    def on_loop(self, done: Done[T]) -> Done[T]:
        """The same for another thread to call: the loop calls `done`, with all else that has come until then."""

        def from_thread(result: T | Exception) -> None:
            self._results.append((done, result))
            if not self._woken:  # two threads may both see False: one wake-up too many, never one too few
                self._woken = True
                with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    self.loop.call_soon_threadsafe(self._tell_all)

        return from_thread

    def _tell_all(self) -> None:
        self._woken = False  # before the queue is emptied: what is added from here on wakes the loop again
        while self._results:
            done, result = self._results.popleft()
            done(result)


async def result_of(start: Callable[[Done[T]], None]) -> T:
    """What something comes to that is started with what it shall tell, on this loop. Cancelling leaves it alone."""
    waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(result: T | Exception) -> None:
        if waiter.done():
            return
        if isinstance(result, Exception):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)

    start(done)
    return await waiter


def then(done: Done[T], make: Callable[[Any], T]) -> Done[Any]:
    """Tells what is made of a result; what went wrong before or in that is told as it is."""

    def made(result: Any) -> None:
        if not isinstance(result, Exception):
            try:
                result = make(result)
            except Exception as error:
                result = error
        done(result)

    return made
