"""`python -c` that begins where the imports are done.

A new process takes seconds to import PyTorch. These are forked from one that has imported it and does nothing else, and
are processes as any other: with their own memory, environment and folder, and killed like them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

ONWARD = "from onward.cli.main import main; raise SystemExit(main())"
LONGEST = 60.0
"""Seconds until a test gives up waiting."""
IMPORTED = ["torch", "scipy.stats", "optuna", "fastapi", "uvicorn", "cyclopts", "rich.console", "structlog"]
"""What takes long and starts no thread, which a fork would lack: not Polars, so nothing of onward's own."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(IMPORTED)


class Forked:
    """A process that runs `code`, by default the command `onward` with these words; much of it is as with Popen.

    Args:
        words: its `sys.argv`, from the second on.
        code: what it runs.
        errors: file that its standard error is added to; by default one that `finish` reads.
    """

    def __init__(self, *words: str, code: str = ONWARD, errors: Path | None = None) -> None:
        if errors is None:
            number, name = tempfile.mkstemp(prefix="onward-errors-")
            os.close(number)
            errors = Path(name)
            self._errors: Path | None = errors
        else:
            self._errors = None
        read, write = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_run, args=(words, code, write, str(errors), dict(os.environ), str(Path.cwd())), daemon=True
        )
        self._process.start()
        write.close()
        self.stdout: BinaryIO = os.fdopen(os.dup(read.fileno()), "rb")
        read.close()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float = LONGEST) -> int:
        """Wait for its end; returns the exit code."""
        self._process.join(seconds)
        code = self._process.exitcode
        assert code is not None, f"still running after {seconds:.0f} s"
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a chance to do anything."""
        self.send_signal(signal.SIGKILL)

    def finish(self, seconds: float = 5 * LONGEST) -> tuple[int, str, str]:
        """Wait for its end: exit code, what it printed (less than 64 KB), what it said on standard error."""
        code = self.wait(seconds)
        with self.stdout as printed:
            out = printed.read().decode()
        assert self._errors is not None
        said = self._errors.read_text(encoding="utf-8")
        self._errors.unlink()
        return code, out, said


def _run(
    words: tuple[str, ...], code: str, out: Connection, errors: str, environment: dict[str, str], folder: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with Path(errors).open("ab") as said:
        os.dup2(said.fileno(), 2)
    os.dup2(out.fileno(), 1)
    out.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs, and what they start, ignore it
    warnings.simplefilter("error", ResourceWarning)
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})
