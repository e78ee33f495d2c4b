"""What tests start in place of `python -c`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from forked import Forked

PARENT = """
import os
from pathlib import Path
print(len(list(Path(f"/proc/{os.getppid()}/task").iterdir())))
"""


def test_it_is_forked_from_a_process_of_one_thread() -> None:
    assert Forked(code=PARENT).finish() == (0, "1\n", "")


def test_words_environment_and_folder_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONWARD_GIVEN", "yes")
    code = "import os, sys; print(sys.argv[1:], os.environ['ONWARD_GIVEN'], os.getcwd()); os.environ['MORE'] = '1'"
    assert Forked("a", "b", code=code).finish() == (0, f"['a', 'b'] yes {tmp_path}\n", "")
    assert Forked(code="import os; print('MORE' in os.environ)").finish() == (0, "False\n", "")


def test_exit_codes_and_standard_error(tmp_path: Path) -> None:
    code, out, said = Forked(code="import sys; print('oh', file=sys.stderr); sys.exit(3)").finish()
    assert (code, out, said) == (3, "", "oh\n")
    code, _, said = Forked(code="open(__file__)").finish()
    assert code == 1
    assert "NameError" in said
    process = Forked(code="import time; print('up', flush=True); time.sleep(60)", errors=tmp_path / "said")
    assert process.stdout.readline() == b"up\n"
    assert process.poll() is None
    os.kill(process.pid, 0)
    process.kill()
    assert process.wait() == process.poll() == -signal.SIGKILL
    process.stdout.close()
