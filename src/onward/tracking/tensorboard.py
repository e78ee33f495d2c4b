"""TensorBoard event files in the run folder, by tensorboardX, which needs neither TensorBoard nor TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import text

from onward.tracking.protocol import Logged, Session, State

TEXTS = (".toml", ".json", ".md", ".txt")
"""Files that are shown; of others, such as an HTML report, TensorBoard is told where they are."""


class TensorBoard:
    """Writes `tensorboard/` in the run folder: a file a session, all of one run.

    tensorboardX's own `SummaryWriter` isn't used: it writes on another thread, where a full disk is never noticed.
    """

    def begin(self, session: Session) -> str:
        """As `Tracker.begin`; the run is the folder."""
        folder = session.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        # two sessions may begin in the same second, which is all that tells their files apart
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if session.redo_from is not None:  # what an earlier session logged from here on counts no more
            self._write(Event(step=session.redo_from, session_log=SessionLog(status=SessionLog.START)))
        self._write(Event(summary=text("settings", _table(session.settings))))
        self._write(Event(summary=text("facts", _table(session.facts))))
        self._writer.flush()
        return folder.name

    def log(self, logged: Logged) -> None:
        """As `Tracker.log`; on disk at once."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in logged.metrics.items()]
        self._write(Event(step=logged.step, summary=Summary(value=values)))
        self._writer.flush()

    def artifact(self, file: Path, place: str) -> None:
        """As `Tracker.artifact`, of text; of another file the path."""
        shown = file.suffix in TEXTS
        content = _indented(file.read_text(encoding="utf-8")) if shown else str(file.resolve())
        self._write(Event(summary=text("/".join([place, file.name] if place else [file.name]), content)))

    def end(self, state: State) -> None:
        """As `Tracker.end`."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)


def _table(values: Mapping[str, Any]) -> str:
    return _indented("\n".join(f"{key} = {value}" for key, value in values.items()))


def _indented(content: str) -> str:
    """Markdown that shows a text as it is."""
    return "\n".join(f"    {line}" for line in content.splitlines())
