"""Real servers as subprocesses, and small models for them to serve."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import apsw
import httpx

from forked import LONGEST, ONWARD, Forked
from small_disks import OWN_MOUNTS

CLOCK = """
import time
def shifted(real=time.time_ns):
    with open({file!r}) as file:
        return real() + int(file.read()) * 10**9
time.time_ns, time.time = shifted, lambda: shifted() / 1e9
"""
"""What a process runs first whose clock a file sets."""
DISK = """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={size}k", "tmpfs", {folder!r}], check=True)
open({folder!r} + "/serve.toml", "w").close()
"""
"""What one runs first, with mounts of its own, whose folder is a small disk."""
DESCRIPTORS = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))
"""
"""What one runs first that may have few files open."""


class Server:
    """`onward serve` in a process of its own, ready when the constructor returns; a context manager that stops it.

    Args:
        folder: for the store, the log and the settings.
        model: bundle or run.
        options: further words of the command line.
        settings: text of `serve.toml`.
        page: whether the page is served.
        store: URL of a store; by default a file in the folder.
        disk: megabytes of a small disk of its own that the folder becomes, for this process alone.
        descriptors: how many the process may have open; as many as the system says by default.
        clock: whether `set_clock` may change what time it is for this process (one worker).
    """

    def __init__(
        self,
        folder: Path,
        model: Path | None,
        *options: str,
        settings: str = "",
        page: bool = False,
        port: int = 0,
        store: str = "",
        disk: float = 0,
        descriptors: int = 0,
        clock: bool = False,
    ) -> None:
        self.store = folder / "events.db"
        self.log = folder / "log.txt"
        (folder / "serve.toml").write_text(settings, encoding="utf-8")
        words = [
            "serve",
            *([str(model)] if model else []),
            "--json",
            "--port",
            str(port),
            "--store",
            store or str(self.store),
        ]
        words += ["--config", str(folder / "serve.toml"), *([] if page else ["--no-page"]), *options]
        self._clock = folder / "clock"
        code = ONWARD
        if clock:
            self.set_clock(0)
            code = CLOCK.format(file=str(self._clock)) + code
        if disk:
            code = OWN_MOUNTS + DISK.format(size=int(disk * 1024), folder=str(folder)) + code
        if descriptors:
            code = DESCRIPTORS.format(most=descriptors) + code
        self.process = Forked(*words, code=code, errors=self.log)
        line = self.process.stdout.readline()
        if not line.startswith(b'{"format"'):
            self.kill()
            raise AssertionError(line.decode() + self.log.read_text())
        self.started = json.loads(line)
        self.url = str(self.started["url"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()

    def set_clock(self, seconds: int) -> None:
        """Set its clock so many seconds ahead of the real one."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(seconds), encoding="ascii")
        new.replace(self._clock)

    def ruin_store(self) -> None:
        """Overwrite the store's file while it serves, all but the first page, and see that no cache hides it."""
        with closing(apsw.Connection(str(self.store))) as database:
            database.set_busy_timeout(round(1_000 * LONGEST))
            assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
            size = self.store.stat().st_size
            with self.store.open("r+b", buffering=0) as file:
                file.seek(4_096)
                file.write(random.Random(0).randbytes(size - 4_096))
            database.pragma("user_version", 1)  # a change by somebody else: what is cached counts no more

    def client(self, key: str | None = None) -> httpx.Client:
        """A plain HTTP client."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=LONGEST)

    def workers(self) -> list[int]:
        """Processes of its workers."""
        done = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(LONGEST)
        assert self.process.stdout.read() == b"", "one JSON object and nothing else"
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        """End it without a chance to do anything."""
        self.process.kill()
        self.process.wait(LONGEST)
        self.process.stdout.close()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """One command of onward."""
    return subprocess.CompletedProcess(words, *Forked(*words).finish())


def make_key(store: Path, role: str) -> str:
    """A new key of a store."""
    from onward.serve.api.keys import create_key
    from onward.serve.store.protocol import open_store

    opened = open_store(store)
    try:
        return create_key(opened, f"for {role}", role)[1]  # type: ignore[arg-type]
    finally:
        opened.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes about by itself."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
