"""Exporting and recommending onto a disk that is full or read-only: named, exit code 2, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from onward.data.prepare import prepare
from onward.data.synthetic import zipf_events
from onward.train.run import train
from small_disks import WHY, Refusal, check_refused

COMMANDS = {"export": ("model", []), "recommend": ("lists.parquet", ["--all", "-k", "50"])}
"""Command: what it writes, further words."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    prepare(zipf_events(30_000, 1_000, 500, seed=1), folder / "dataset", duplicates="keep")
    train(folder / "dataset", "user-knn", folder / "run", protocol="last", progress=False)
    return folder / "run"


@pytest.mark.usefixtures("small_disks")
def test_full_and_read_only_disks(run: Path, tmp_path: Path) -> None:
    check_refused(
        [
            Refusal(tmp_path / f"{command}-{kind}", 80, kind, [command, str(run), *more], name)
            for kind in WHY
            for command, (name, more) in COMMANDS.items()
        ]
    )
