"""A package that offers a tracker, and readers of what W&B and TensorBoard write."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest


def offer(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, points: str, module: str) -> None:
    """Install a package with one module into a folder that Python looks into; `points` are lines `name = target`."""
    info = folder / f"{module}-1.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[onward.trackers]\n{points}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))


def board(run: Path) -> Any:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def wandb_records(file: Path) -> list[Any]:
    """The records of an offline run: a log of blocks of 32 KB as LevelDB has them, under a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, records, held, at = file.read_bytes(), [], b"", 7
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if left < 7 or not kind:  # padding
            at += left
            continue
        part = data[at + 7 : at + 7 + length]
        held = part if kind in (1, 2) else held + part  # 1 whole, 2 first, 3 middle, 4 last
        at += 7 + length
        if kind in (1, 4):
            records.append(Record.FromString(held))
    return records


def wandb_history(records: list[Any]) -> dict[int, dict[str, float]]:
    """Step -> numbers."""
    found = {}
    for record in records:
        if record.WhichOneof("record_type") == "history":
            values = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            found[int(values["_step"])] = values
    return found


def wandb_config(records: list[Any]) -> dict[str, Any]:
    """Settings of the run."""
    (run,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    return {item.key: json.loads(item.value_json) for item in run.config.update}
