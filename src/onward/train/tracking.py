"""Where metrics go: `metrics.jsonl` always, TensorBoard when it is installed.

One JSON object a line; `kind` is `start` (of each session: where it runs), `train` (loss, gradients, speed, memory),
`validation` (metrics), or `end`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from onward.runs import read_metrics


class Tracker:
    """Writes one run's metrics. Use as a context manager.

    Args:
        folder: the run's folder.
        resume_step: drop what a killed session wrote after this step, since it will be done again.
    """

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(self.path) if line["step"] <= resume_step and line["kind"] != "end"]
        self._file: IO[str] = self.path.open("w", encoding="utf-8")
        for line in kept if resume_step else []:
            self._write(line)
        self._board = _tensorboard(folder, resume_step)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line; numbers go to TensorBoard too."""
        self._write({"kind": kind, "step": step, **values})
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def _tensorboard(folder: Path, resume_step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    purge = resume_step + 1 if resume_step else None
    return SummaryWriter(folder / "tensorboard", purge_step=purge)
