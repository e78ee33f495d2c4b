"""The writer: one thread a process does all writing. What waits is committed together and answered after the commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from onward.errors import StoreError
from onward.serve.store.database import Database, Transaction
from onward.serve.store.values import Event, Outcome

T = TypeVar("T")
GROUP_EVENTS = 4_000
"""Events of one commit, about: more would make the first of them wait for long."""
WAITING_EVENTS = 100_000
"""Events that wait for the writer, at most; further ones are refused, for a growing queue helps nobody."""
IDLE_SECONDS = 0.25
"""What is buffered waits so long at most while no event comes."""


@dataclass(slots=True)
class _Events:
    events: Sequence[Event]
    done: Callable[[list[Outcome] | Exception], None]


@dataclass(slots=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any]


class Writer:
    """Runs the writing of one store.

    Args:
        ingest: stores events in a transaction, one outcome an event.
        flush: writes what is buffered in a transaction; returns what to call once that is committed.
        buffered: how much of that waits.
    """

    def __init__(
        self,
        database: Database,
        ingest: Callable[[Transaction, Sequence[Event]], list[Outcome]],
        flush: Callable[[Transaction], Callable[[], None]],
        buffered: Callable[[], int],
    ) -> None:
        self._database = database
        self._ingest = ingest
        self._flush = flush
        self._buffered = buffered
        self._jobs: SimpleQueue[_Events | _Call | None] = SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="onward-store-writer", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[Event], done: Callable[[list[Outcome] | Exception], None]) -> None:
        """Store events with the next commit; `done` is called on the writer's thread, and must neither wait nor raise.

        Raises StoreError when too many wait already.
        """
        with self._lock:
            self._refuse_when_closed()
            if self._waiting + len(events) > WAITING_EVENTS:
                raise StoreError(
                    f"{self._waiting} events wait to be written, and {len(events)} more are refused",
                    "send them again later, with the same ids",
                )
            self._waiting += len(events)
            self._jobs.put(_Events(events, done))

    def write(self, function: Callable[[Transaction], T]) -> T:
        """Run a function in a transaction of its own, and return its result when that is durable."""

        def transact() -> T:
            with self._database.transaction() as transaction:
                return function(transaction)

        return self.call(transact)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the writer's thread, between transactions."""
        future: Future[T] = Future()
        with self._lock:
            self._refuse_when_closed()
            self._jobs.put(_Call(function, future))
        return future.result()

    def close(self) -> None:
        """Write all that waits, and stop."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StoreError("the event store is closed")

    def _run(self) -> None:
        following: _Events | _Call | None = None
        while True:
            job = following or self._next()
            following = None
            if job is None:
                break
            if isinstance(job, _Call):
                _settle(job.future, job.function)
            else:
                group, following, stop = self._gather(job)
                self._commit(group)
                if stop:
                    break
            self._database.tidy()
        if self._buffered():
            self._commit([])

    def _next(self) -> _Events | _Call | None:
        while True:
            try:
                return self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                if self._buffered():
                    self._commit([])

    def _gather(self, first: _Events) -> tuple[list[_Events], _Call | None, bool]:
        """Events that wait, up to the size of a group or to a job of another kind; that job; whether to stop then."""
        group, size = [first], len(first.events)
        while size < GROUP_EVENTS:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if not isinstance(job, _Events):
                return group, job, job is None
            group.append(job)
            size += len(job.events)
        return group, None, False

    def _commit(self, group: list[_Events]) -> None:
        """Write a group in one transaction, then answer it: after the commit, never before."""
        events = [event for job in group for event in job.events]
        try:
            with self._database.transaction() as transaction:
                flushed = self._flush(transaction)
                outcomes = self._ingest(transaction, events)
        except Exception as error:
            if len(group) == 1 or isinstance(error, StoreError):
                self._answer(group, error)
                return
            for job in group:  # what one caller sent is at fault: the others must not suffer from it
                self._commit([job])
            return
        flushed()
        self._answer(group, outcomes)

    def _answer(self, group: list[_Events], result: list[Outcome] | Exception) -> None:
        with self._lock:
            self._waiting -= sum(len(job.events) for job in group)
        first = 0
        for job in group:
            job.done(result if isinstance(result, Exception) else result[first : first + len(job.events)])
            first += len(job.events)


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
