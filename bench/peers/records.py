"""What was measured, one JSON object a line, so that a run can be continued and shown again."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

Record = dict[str, Any]


class Records:
    """The lines of one file; a stage that is run again replaces its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        self.lines: list[Record] = [json.loads(line) for line in text.splitlines()]

    def start(self, stage: str, **facts: Any) -> None:
        """Forget what this stage measured before, and note the facts of this time."""
        self.lines = [line for line in self.lines if line["stage"] != stage]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")
        self.add(stage=stage, do="facts", **facts)

    def keep_only(self, data: str) -> None:
        """Forget everything that was measured on other data: one report is about one file."""
        if any(line.get("data", data) != data for line in self.lines):
            self.lines = []

    def add(self, **record: Any) -> None:
        """One more line."""
        self.lines.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def of(self, **wanted: Any) -> list[Record]:
        """The lines that hold all of these values."""
        return [line for line in self.lines if all(line.get(key) == value for key, value in wanted.items())]

    def values(self, key: str, **wanted: Any) -> list[float]:
        """One value of each of these lines."""
        return [line[key] for line in self.of(**wanted) if line.get(key) is not None]

    def middle(self, key: str, **wanted: Any) -> float | None:
        """The median of a value over these lines; None without any."""
        values = self.values(key, **wanted)
        return median(values) if values else None
