"""What every driver shares: one process a library, commands as JSON lines on stdin, one JSON line each as the answer.

    python NAME_.py '{"data": "events.txt.gz", "folder": "work", "length": 200, ...}'

Commands: `prepare`, `train` (for so many seconds, or until the clock stands at `until`), `evaluate`, `recommend`
(every test user; writes the lists to `path` where one is given), `latency`. Whatever a library prints goes to standard
error.

A library's own training loop can't be called for a few seconds at a time, so it is called once and paused from within:
before every batch it comes to `Pacer.batch`, which, when the time asked for is over, answers, and serves other
commands until the next `train`. A pause costs no training time, so the libraries can take turns.

Only the standard library and numpy, which every environment has.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

WARM_BATCHES, WARM_SECONDS = 5, 2.0
"""What isn't counted after a pause: this many batches, or those that begin within this time, whichever ends first."""
ANSWERED = 20
"""Untimed requests before the latency of one is measured."""


class Driver(ABC):
    """One library. `config` is what the runner passed: data, folder, length, batch, seed and the library's settings."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @abstractmethod
    def prepare(self) -> dict[str, Any]:
        """From the file to everything that training needs; what is worth telling."""

    @abstractmethod
    def train(self, pacer: Pacer) -> None:
        """Train until the process ends, with `pacer.batch(events of the one before)` before every batch."""

    @abstractmethod
    def evaluate(self) -> dict[str, Any]:
        """The library's own evaluation of all test users over the whole catalog: `users`, and what it found."""

    @abstractmethod
    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best unseen items of every test user: (U,) users and (U, k) items, as numbered in the file."""

    @abstractmethod
    def answer(self, number: int, k: int) -> object:
        """The k best unseen items of one test user, in process, its history at hand."""

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Inside, the model that is in the middle of its training answers as it would after it."""
        yield


class Pacer:
    """The clock of one training: runs while batches are computed, and stands still while other commands are served."""

    def __init__(self, server: Server, before: float) -> None:
        self.server = server
        self.clock = before  # seconds since the process was started, without the pauses
        self.events = 0
        self.first_batch: float | None = None  # seconds until the first batch began: what is left of the preparation
        self._start({"do": "train", "seconds": 0.0})

    def batch(self, done: int) -> None:
        """A batch begins; the one before it trained on `done` events (real positions with a next item)."""
        now = time.perf_counter()
        self.clock += now - self.last
        self.last = now
        if self.first_batch is None:
            self.first_batch = now - self.begin
        self.events += done
        if self.measured:
            self.counted += done
        elif self.batches > WARM_BATCHES or now - self.begin > WARM_SECONDS:
            self.measured, self.counted_from = True, now
        if self._over(now):
            self._pause(now)
        self.batches += 1

    def finished(self) -> None:
        """The library's training ended by itself: answer now, and whatever is asked later without training."""
        self.clock += time.perf_counter() - self.last
        while True:
            self._pause(time.perf_counter(), finished=True)

    def _start(self, command: dict[str, Any]) -> None:
        self.command = command
        self.begin = self.last = time.perf_counter()
        self.batches, self.counted, self.counted_from, self.measured = 0, 0, self.begin, False

    def _over(self, now: float) -> bool:
        if "until" in self.command:
            return self.clock >= self.command["until"]
        return self.measured and self.counted > 0 and now - self.counted_from >= self.command["seconds"]

    def _pause(self, now: float, finished: bool = False) -> None:
        seconds = now - self.counted_from
        self.server.reply(
            {
                "clock": self.clock,
                "first_batch_seconds": self.first_batch,
                "events": self.events,
                "batches": self.batches,
                "seconds": seconds,
                "events_per_second": self.counted / seconds if seconds else 0.0,
                "finished": finished,
            }
        )
        self._start(self.server.serve())


class Stopwatch:
    """Events a second over a given time, the first batches left out."""

    def __init__(self, seconds: float) -> None:
        self.limit = seconds
        self.batches, self.events, self.first, self.last = 0, 0, 0.0, 0.0
        self.begin = time.perf_counter()

    def batch(self, done: int) -> bool:
        """A batch begins, the one before it trained on `done` events; whether the time is over."""
        self.last = time.perf_counter()
        self.batches += 1
        self.events += done
        if self.batches == WARM_BATCHES:
            self.first, self.events = self.last, 0
        return self.last - self.begin > self.limit and self.batches > WARM_BATCHES

    def events_per_second(self) -> float:
        """The speed."""
        return self.events / (self.last - self.first)


class Server:
    """Reads commands, answers them."""

    def __init__(self, driver: Driver, replies: TextIO, startup: float) -> None:
        self.driver, self.replies, self.startup = driver, replies, startup
        self.prepared = 0.0

    def reply(self, answer: dict[str, Any]) -> None:
        """One answer, with the memory that the process held at most until now."""
        self.replies.write(json.dumps({**answer, "peak_mib": peak_mib()}) + "\n")
        self.replies.flush()

    def serve(self) -> dict[str, Any]:
        """Answer commands until the next `train`, which is returned; the end of the runner ends the process."""
        for line in sys.stdin:
            command = json.loads(line)
            if command["do"] == "train":
                return command
            self.reply(getattr(self, command["do"])(**{key: command[key] for key in command if key != "do"}))
        sys.stderr.flush()
        os._exit(0)

    def prepare(self) -> dict[str, Any]:
        """`prepare_seconds`, and `startup_seconds` from the start of the process to the end of the imports."""
        begin = time.perf_counter()
        facts = self.driver.prepare()
        self.prepared = time.perf_counter() - begin
        return {"prepare_seconds": self.prepared, "startup_seconds": self.startup, **facts}

    def evaluate(self) -> dict[str, Any]:
        """Users a second of the library's own evaluation."""
        with self.driver.at_rest():
            begin = time.perf_counter()
            facts = self.driver.evaluate()
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "users_per_second": facts["users"] / seconds, **facts}

    def recommend(self, k: int, path: str | None = None) -> dict[str, Any]:
        """Users a second of lists for everyone."""
        with self.driver.at_rest():
            begin = time.perf_counter()
            users, items = self.driver.recommend(k)
        seconds = time.perf_counter() - begin
        if path is not None:
            np.savez(path, users=users, items=items)
        return {"seconds": seconds, "users": len(users), "users_per_second": len(users) / seconds}

    def latency(self, requests: int, k: int) -> dict[str, Any]:
        """Median and 99th percentile of single requests, one user after the other, milliseconds."""
        taken = []
        with self.driver.at_rest():
            for number in range(-ANSWERED, requests):
                begin = time.perf_counter()
                self.driver.answer(abs(number), k)
                taken.append(1000 * (time.perf_counter() - begin))
        taken = taken[ANSWERED:]
        return {"requests": requests, "p50_ms": float(np.median(taken)), "p99_ms": float(np.percentile(taken, 99))}


def main(driver: type[Driver]) -> None:
    """Run one driver to the end of its commands."""
    config = json.loads(sys.argv[1])
    startup = time.time() - config["started"]
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made = driver(config)
    server = Server(made, replies, startup)
    while True:
        command = server.serve()
        pacer = Pacer(server, server.startup + server.prepared)
        pacer._start(command)
        made.train(pacer)
        pacer.finished()


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Evaluation mode and no gradients, and back: the model may be in the middle of its training."""
    import torch

    was = model.training
    model.eval()
    with torch.no_grad():
        yield
    model.train(was)


def peak_mib() -> float:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
