"""Exporting and recommending onto a disk that is full or read-only: named, exit code 2, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onward.data.prepare import prepare
from onward.data.synthetic import zipf_events
from onward.train.run import train

ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
folder, kind = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", str(folder)], check=True)
if kind == "read-only":
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
from onward.cli.main import main
print(main(sys.argv[3:]), sorted(path.name for path in folder.rglob("*")))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    prepare(zipf_events(30_000, 1_000, 500, seed=1), folder / "dataset", duplicates="keep")
    train(folder / "dataset", "user-knn", folder / "run", protocol="last", progress=False)
    return folder / "run"


@pytest.mark.parametrize(("kind", "words"), [("full", "the disk is full"), ("read-only", "the disk is read-only")])
@pytest.mark.parametrize("command", ["export", "recommend"])
def test_a_full_or_read_only_disk(run: Path, tmp_path: Path, kind: str, words: str, command: str) -> None:
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no private mount namespace here (unshare -m)")
    disk = tmp_path / "disk"
    disk.mkdir()
    target = disk / ("model" if command == "export" else "lists.parquet")
    arguments = [command, str(run), "-o", str(target), *(["--all", "-k", "50"] if command == "recommend" else [])]
    asked = ["unshare", "-m", sys.executable, "-c", ON_A_SMALL_DISK, str(disk), kind, *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if "mount" in done.stderr and "permission denied" in done.stderr:
        pytest.skip("no right to mount a tmpfs here")
    assert done.stdout.strip() == "2 []", done.stderr
    said = " ".join(done.stderr.split())
    assert f"can't write {target}: {words}" in said
    assert "Traceback" not in said
