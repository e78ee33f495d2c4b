"""One library's process: started, asked, and watched."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from settings import HERE, Library
from venvs import interpreter

LIMIT_SECONDS = 1800.0


class Worker:
    """A driver in its own environment, alive until it is closed. The rest of its output goes to `output.txt`."""

    def __init__(self, library: Library, config: dict[str, Any], folder: Path, threads: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.library, self.log = library, folder / "output.txt"
        given = {"seed": 0, "threads": threads, **config, "folder": str(folder), "started": time.time()}
        python = interpreter(library.environment)
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(python), "-W", "ignore", str(HERE / "drivers" / library.driver), json.dumps(given)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=folder,
                env=environment(library, threads),
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for the answer, to which the work of others meanwhile is added.

        Raises:
            RuntimeError: the driver ended or didn't answer; with the end of its log.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self._cpu()
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._failed(do, "has ended") from None
        if not select.select([self.process.stdout], [], [], LIMIT_SECONDS)[0]:
            raise self._failed(do, f"did not answer in {LIMIT_SECONDS:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise self._failed(do, "has ended")
        return {"do": do, **json.loads(line), "others": _others(before, self._cpu())}

    def close(self) -> None:
        """End the process and close its pipes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _failed(self, do: str, how: str) -> RuntimeError:
        tail = "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-15:])
        return RuntimeError(f"{self.library.name} {how} at '{do}'. The end of {self.log}:\n{tail}")

    def _cpu(self) -> tuple[float, float, float] | None:
        """(time, busy seconds of all cores, seconds of this process), on Linux."""
        own = Path(f"/proc/{self.process.pid}/stat")
        if not own.exists():
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        busy = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        mine = own.read_text().rpartition(")")[2].split()
        return time.perf_counter(), (sum(busy[:3]) + sum(busy[5:8])) / ticks, (int(mine[11]) + int(mine[12])) / ticks


def _others(before: tuple[float, float, float] | None, after: tuple[float, float, float] | None) -> float | None:
    """Cores that everything else on the machine kept busy, on average."""
    if before is None or after is None:
        return None
    wall, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / max(wall, 1e-9), 3)


def environment(library: Library, threads: int) -> dict[str, str]:
    """The environment variables of a library's processes."""
    quiet = {"PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "OMP_NUM_THREADS": str(threads), **quiet, **library.variables}
