"""The trackers of one run, each on a thread of its own: none slows a training down, and none ends it.

What a tracker is to do waits in its queue. One that raises is left out from there on, with one warning.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from onward.config import flat, read_toml
from onward.files import atomic_file
from onward.tracking.names import make_tracker
from onward.tracking.protocol import Logged, Session, State, Tracker

IDS = "tracking.json"
"""In the run folder: tracker -> the id of the run there, so that later sessions go on with it."""
END_SECONDS = 60.0
"""What trackers may take, all together, to write what is still held once a session is over."""

log = logging.getLogger("onward.tracking")
Task = Callable[[Tracker], None]


class Trackers:
    """Hands what is logged to trackers. A context manager around one session; without names it does nothing.

    Args:
        names: of trackers, as `check_trackers` allows them.
        folder: the run folder, which is read when the session begins.
    """

    def __init__(self, names: Iterable[str], folder: Path) -> None:
        self._names, self._folder = tuple(names), folder
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def begin(
        self,
        facts: Mapping[str, Any],
        earlier: Sequence[Logged] = (),
        redo_from: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Start the session, or go on with that of an earlier one; `facts`, nested, and the rest as in `Session`.

        `settings`, nested, are by default those of the run folder.
        """
        if not self._names:
            return
        resolved = flat(read_toml(self._folder / "config.toml") if settings is None else settings)

        def beginning(name: str) -> Task:
            def begin(tracker: Tracker) -> None:
                known = _read_ids(self._folder).get(name)
                session = Session(self._folder, resolved, flat(facts), known, earlier, redo_from)
                self._remember(name, tracker.begin(session))

            return begin

        self._workers = [_Worker(name, beginning(name)) for name in self._names]

    def log(self, logged: Logged) -> None:
        """Log numbers of a step."""
        for worker in self._workers if logged.metrics else ():
            worker.add(lambda tracker: tracker.log(logged))

    def artifact(self, file: Path, place: str = "") -> None:
        """Keep a copy of a file under a folder; one that isn't changed before the session ends."""
        for worker in self._workers:
            worker.add(lambda tracker: tracker.artifact(file, place))

    def end(self, state: State) -> None:
        """End the session; waits for the trackers, but not for ever."""
        deadline = time.monotonic() + END_SECONDS
        for worker in self._workers:
            worker.close(state)
        for worker in self._workers:
            worker.wait(deadline - time.monotonic())
        self._workers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end("finished" if kind is None else "failed" if issubclass(kind, Exception) else "stopped")

    def _remember(self, name: str, id: str) -> None:
        with self._lock:
            known = _read_ids(self._folder)
            if known.get(name) != id:
                with atomic_file(self._folder / IDS, overwrite=True) as new:
                    new.write_text(json.dumps({**known, name: id}, indent=2) + "\n", encoding="utf-8")


class _Worker(threading.Thread):
    """One tracker, and what it is still to do."""

    def __init__(self, name: str, begin: Task) -> None:
        super().__init__(name=f"tracker {name}", daemon=True)  # a server that hangs keeps no process alive
        self.tracker = name
        self.failed = False
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.tasks.put(begin)
        self.start()

    def add(self, task: Task) -> None:
        """Do this next."""
        if not self.failed:
            self.tasks.put(task)

    def close(self, state: State) -> None:
        """No more comes."""
        self.add(lambda tracker: tracker.end(state))
        self.tasks.put(None)

    def wait(self, seconds: float) -> None:
        """Wait so long for what is left."""
        self.join(max(0.0, seconds))
        if self.is_alive() and not self.failed:
            self._leave_out(f"it is not done {END_SECONDS:g} s after the end")

    def run(self) -> None:
        """What the thread does."""
        try:
            tracker = make_tracker(self.tracker)
            while (task := self.tasks.get()) is not None and not self.failed:
                task(tracker)
        except Exception as error:  # whatever a tracker does, the training goes on
            if not self.failed:
                self._leave_out(f"{type(error).__name__}: {error}")

    def _leave_out(self, why: str) -> None:
        self.failed = True
        log.warning("tracker '%s' is left out from here on; metrics.jsonl has everything: %s", self.tracker, why)


def _read_ids(folder: Path) -> dict[str, str]:
    file = folder / IDS
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
