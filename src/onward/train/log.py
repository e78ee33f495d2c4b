"""What a training logs: `metrics.jsonl` always, and the same numbers to the trackers that were asked for.

One JSON object a line; `kind` is `start` (of each session: where it runs), `train` (loss, gradients, speed, memory),
`validation` (metrics), or `end`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from onward.runs import read_metrics
from onward.tracking.lines import as_logged
from onward.tracking.trackers import Trackers
from onward.train.session import session


class RunLog:
    """Writes one run's metrics. Use as a context manager.

    Args:
        folder: the run's folder.
        trackers: are told the same; their session begins with `start`.
        step: where a training goes on; what a killed session wrote after it is dropped, since it will be done again.
    """

    def __init__(self, folder: Path, trackers: Trackers, step: int = 0) -> None:
        self._step, self._trackers = step, trackers
        self._path = folder / "metrics.jsonl"
        before = read_metrics(self._path)
        self._resumed = bool(before)
        self._kept = [line for line in before if step and line["step"] <= step and line["kind"] != "end"]
        self._file: IO[str] = self._path.open("w", encoding="utf-8")
        for line in self._kept:
            self._write(line)

    def start(self) -> None:
        """Log that a session begins, and where it runs."""
        facts = session()
        self._write({"kind": "start", "step": self._step, **facts})
        redo_from = self._step + 1 if self._step else 0
        self._trackers.begin(facts, [as_logged(line) for line in self._kept], redo_from if self._resumed else None)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line; its numbers go to the trackers too."""
        line = {"kind": kind, "step": step, **values}
        self._write(line)
        self._trackers.log(as_logged(line))

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
