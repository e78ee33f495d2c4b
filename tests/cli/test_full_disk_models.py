"""Exporting and recommending onto a disk that is full or read-only: named, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onward.data.prepare import prepare
from onward.data.synthetic import zipf_events
from onward.train.run import train

ON_SMALL_DISKS = """
import json, subprocess, sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from onward.cli.main import main
for folder, kind, words in json.loads(sys.argv[1]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", folder], check=True)
    if kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with redirect_stderr(StringIO()) as said:
        code = main(words)
    print(json.dumps([code, sorted(path.name for path in Path(folder).rglob("*")), said.getvalue()]))
"""
KINDS = {"full": "the disk is full", "read-only": "the disk is read-only"}
COMMANDS = {"export": ("model", []), "recommend": ("lists.parquet", ["--all", "-k", "50"])}
"""Command: what it writes, further words."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    prepare(zipf_events(30_000, 1_000, 500, seed=1), folder / "dataset", duplicates="keep")
    train(folder / "dataset", "user-knn", folder / "run", protocol="last", progress=False)
    return folder / "run"


def test_full_and_read_only_disks(run: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace here (unshare -m)")
    tries, wanted = [], []
    for kind, why in KINDS.items():
        for command, (name, more) in COMMANDS.items():
            disk = tmp_path / f"{command}-{kind}"
            disk.mkdir()
            tries.append((str(disk), kind, [command, str(run), "-o", str(disk / name), *more]))
            wanted.append(f"can't write {disk / name}: {why}")
    asked = ["unshare", "-m", sys.executable, "-c", ON_SMALL_DISKS, json.dumps(tries)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if "mount" in done.stderr and "permission denied" in done.stderr:
        pytest.skip("no right to mount a tmpfs here")
    assert done.returncode == 0, done.stderr
    for line, message in zip(done.stdout.splitlines(), wanted, strict=True):
        code, left, said = json.loads(line)
        assert (code, left) == (2, []), said
        assert message in " ".join(said.split())
        assert "Traceback" not in said
