"""Several workers: started together, each on a socket of its own, started again when one dies, stopped together."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import structlog

from onward.errors import OnwardError
from onward.serve.process.launch import bind_beside
from onward.serve.process.plan import GIVE_UP, Refusal, WorkerPlan

LOOK = 0.1
"""Seconds between two looks at the workers."""
SOON = 10.0
"""A worker that dies within so many seconds of its start is started again after a pause."""
PAUSE = 2.0

log = structlog.get_logger("onward.serve")


class WorkerError(OnwardError):
    """A worker could not start, or did not stop."""

    code = "worker"

    @classmethod
    def told(cls, line: bytes, worker: int) -> WorkerError:
        """The error that a worker's first word is; the log has it where there was no word."""
        if not line.startswith(b"{"):
            return cls(f"worker {worker} could not start; its message stands above")
        said = Refusal.model_validate_json(line)
        error = cls(said.message, said.hint)
        error.code, error.exit_code = said.code, said.exit_code
        return error


def supervise(plan: WorkerPlan, listening: list[socket.socket], table: BinaryIO, ready: Callable[[], None]) -> int:
    """Run `plan.workers` workers until SIGTERM or SIGINT; returns the signal.

    Args:
        listening: a socket for each worker.

    Raises:
        WorkerError: one could not start, or did not stop in time.
    """
    stop = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _: object) -> None:
        received.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    children = [_Child(plan, number, one, table) for number, one in enumerate(listening)]
    try:
        for child in children:
            child.wait_until_ready()
        ready()
        while not stop.wait(LOOK):
            for child in children:
                child.keep_alive()
    finally:
        clean = _stop(children)
    if not clean:
        raise WorkerError("a worker did not stop in time")
    return received[0] if received else signal.SIGTERM


class _Child:
    """One worker process and its successors."""

    def __init__(self, plan: WorkerPlan, number: int, listening: socket.socket, table: BinaryIO) -> None:
        self._plan = plan.model_copy(update={"number": number})
        self._listening, self._table = listening, table
        self._family, self._address = listening.family, listening.getsockname()[:2]
        self._not_before = 0.0
        self._start()

    def _start(self) -> None:
        descriptors = (self._listening.fileno(), self._table.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onward.serve.process.worker", *map(str, descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which stops its workers
        )
        self._started = time.monotonic()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once: `wait_until_ready` and `keep_alive` see to that
            self.process.stdin.write(self._plan.model_dump_json().encode() + b"\n")
            self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        """Wait for its first word. Raises WorkerError when it ends without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line != b"ready\n":
            raise WorkerError.told(line, self._plan.number)

    def keep_alive(self) -> None:
        """Start it again when it has died: at once, or after a pause where it had only just started."""
        code = self.process.poll()
        if code is None:
            return
        now = time.monotonic()
        if not self._not_before:
            log.error("worker died", worker=self._plan.number, code=code)
            self._not_before = now + (PAUSE if now - self._started < SOON else 0.0)
            self._listening.close()  # the other workers get what comes, until the next of this one listens
        if now >= self._not_before:
            self._not_before = 0.0
            self._close()
            try:
                self._listening = bind_beside(self._family, self._address)
            except OSError as error:
                raise WorkerError(f"worker {self._plan.number} can't listen again: {error.strerror}") from None
            self._start()

    def stop(self, until: float) -> bool:
        """Wait for its end, and force it when that takes too long; whether it ended well by itself."""
        try:
            code = self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._listening.close()
        self._close()
        return code == 0

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _stop(children: list[_Child]) -> bool:
    until = time.monotonic() + GIVE_UP
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    ended = [child.stop(until) for child in children]  # every one, also after one that had to be forced
    return all(ended)
