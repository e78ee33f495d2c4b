"""Small disks for tests, full or read-only: each is mounted where no other process sees it.

Needs the right to mount; tests that ask for `small_disks` are skipped without it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from forked import Forked

OWN_MOUNTS = """
import ctypes, subprocess
assert ctypes.CDLL(None).unshare(0x20000) == 0, "no mount namespace of its own"
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
"""
"""What a process runs first whose mounts no other sees."""
WHY = {"full": "the disk is full", "read-only": "the disk is read-only"}
"""What may be wrong with a disk, and how it is named."""
RUN_COMMANDS = """
import json, subprocess, sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from onward.cli.main import main
for folder, kilobytes, kind, words in json.loads(sys.argv[1]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    if kind == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with redirect_stderr(StringIO()) as said:
        code = main(words)
    print(json.dumps([code, sorted(path.name for path in Path(folder).rglob("*")), said.getvalue()]))
"""


@pytest.fixture(scope="session")
def small_disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where no small disk can be mounted."""
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path_factory.mktemp("mount"))]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no right to mount a tmpfs here: {done.stderr.strip()}")


def with_own_mounts(code: str, *arguments: str) -> list[str]:
    """The lines that Python code prints in a process whose mounts no other sees."""
    exit_code, out, said = Forked(*arguments, code=OWN_MOUNTS + code).finish()
    assert exit_code == 0, said
    return out.splitlines()


class Refusal(NamedTuple):
    """A command that a disk refuses."""

    disk: Path
    kilobytes: int
    kind: str
    """A key of `WHY`."""
    words: list[str]
    """The command without `-o`."""
    out: str
    """What it would write there."""


def check_refused(refusals: Sequence[Refusal]) -> None:
    """Runs commands on disks of their own: each names its output and what is wrong, and leaves nothing behind."""
    tries = []
    for disk, kilobytes, kind, words, out in refusals:
        disk.mkdir()
        tries.append((str(disk), kilobytes, kind, [*words, "-o", str(disk / out)]))
    lines = with_own_mounts(RUN_COMMANDS, json.dumps(tries))
    for line, refusal in zip(lines, refusals, strict=True):
        code, left, said = json.loads(line)
        assert (code, left) == (2, []), said
        assert f"can't write {refusal.disk / refusal.out}: {WHY[refusal.kind]}" in " ".join(said.split())
        assert "Traceback" not in said
