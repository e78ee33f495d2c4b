"""Micro-batches: requests that come while one batch is computed make the next."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from onward.errors import InputError, Overloaded
from onward.serve.lists.requests import Answer, Request

_Entry = tuple[Request, Callable[[Answer | Exception], None], float]  # whom to tell, and when it came


class Batcher:
    """One thread that answers all waiting requests together; used from any number of threads.

    Args:
        function: (requests) -> answers, one each. An exception is every one's of the batch, but for an InputError: then
            each is asked alone.
        max_batch: requests in a batch, at most.
        max_wait: seconds that a batch which isn't full waits for more.
        max_queue: requests that wait, at most.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Request]], list[Answer]],
        max_batch: int,
        max_wait: float,
        max_queue: int,
    ) -> None:
        self._function = function
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def submit(self, request: Request, done: Callable[[Answer | Exception], None]) -> None:
        """Ask for an answer; `done` is told it on the batcher's thread, and must neither wait nor raise.

        Raises Overloaded when the queue is full or closed.
        """
        with self._changed:
            if self._closed or len(self._waiting) >= self._max_queue:
                raise Overloaded(len(self._waiting), retry_after=1.0)
            self._waiting.append((request, done, time.perf_counter()))
            if len(self._waiting) == 1 or len(self._waiting) == self._max_batch:
                self._changed.notify()

    def close(self) -> None:
        """Answer what waits, then stop; returns when done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch, time.perf_counter())

    def _answer(self, entries: Sequence[_Entry], started: float) -> None:
        try:
            answers = self._function([request for request, _, _ in entries])
        except InputError as error:
            if len(entries) == 1:
                entries[0][1](error)
            else:  # only whoever asked for what can't be done is told so
                for entry in entries:
                    self._answer([entry], started)
        except Exception as error:
            for _, done, _ in entries:
                done(error)
        else:
            for (_, done, since), answer in zip(entries, answers, strict=True):
                answer.stages["queue"] = started - since
                done(answer)

    def _next(self) -> list[_Entry]:
        """The next batch; empty once closed and nothing waits."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._max_wait and not self._closed:
                until = time.perf_counter() + self._max_wait
                while len(self._waiting) < self._max_batch and not self._closed:
                    left = until - time.perf_counter()
                    if left <= 0 or not self._changed.wait(left):
                        break
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
