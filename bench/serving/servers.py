"""Servers to be measured: started, watched in /proc, stopped; and load on them by wrk or at a fixed rate."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
ONWARD = [sys.executable, "-m", "onward"]
TICKS = os.sysconf("SC_CLK_TCK")

WRK = """
wrk.method = "{method}"
wrk.headers["Content-Type"] = "application/json"
{key}
local users = {{}}
for line in io.lines("{users}") do users[#users + 1] = line end
local seed = 0
function setup(thread) thread:set("number", seed); seed = seed + 1 end
function init(args) math.randomseed(number + 1) end
function request()
  return wrk.format(nil, nil, nil, {body})
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {{"requests": %d, "seconds": %f, "errors": %d, ' ..
    '"p50": %f, "p90": %f, "p99": %f, "max": %f}}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""
ASK = """'{{"user":"' .. users[math.random(#users)] .. '","k":10}}'"""


@dataclass
class Watched:
    """A process that listens."""

    process: subprocess.Popen[bytes]
    port: int
    key: str | None = None
    log: Path | None = None
    ready_seconds: float = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _processes(self) -> list[int]:
        """It, and the workers that it has started."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def cpu_seconds(self) -> float:
        """Processor time so far, of all its processes."""
        ticks = 0
        for process in self._processes():
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def memory_mib(self) -> float:
        """Resident memory of the largest of its processes."""
        found = 0.0
        for process in self._processes():
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    found = max(found, int(line.split()[1]) / 1024)
        return found

    def logged(self, event: str) -> dict[str, str]:
        """The fields of the first line of the log with an event; empty without one."""
        for line in self.log.read_text().splitlines() if self.log else []:
            if f'event="{event}"' in line:
                return dict(word.partition("=")[::2] for word in shlex.split(line))
        return {}


def bare() -> Watched:
    """The bare FastAPI answer."""
    process = subprocess.Popen([sys.executable, str(HERE / "bare.py")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    watched = Watched(process, int(process.stdout.readline()))
    _until_answered(watched.port)
    return watched


def onward(folder: Path, model: Path, store: Path, settings: str, keys: bool, workers: int) -> Watched:
    """`onward serve`, ready; `folder` gets its log and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serve.toml").write_text(settings)
    key = None
    if keys:
        made = run("keys", "create", "bench", "--role", "write", "--store", str(store), "--json")
        key = json.loads(made)["key"]
    words = ["serve", str(model), "--json", "--port", "0", "--store", str(store), "--no-page"]
    words += ["--workers", str(workers)]
    started = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*ONWARD, *words, "--config", str(folder / "serve.toml")],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(b'{"format"'):
        sys.exit(f"the server did not start:\n{(folder / 'log.txt').read_text()}")
    seconds = time.perf_counter() - started
    return Watched(process, int(json.loads(line)["url"].rpartition(":")[2]), key, folder / "log.txt", seconds)


def run(*words: str) -> str:
    """What a command of onward prints."""
    return subprocess.run([*ONWARD, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def _until_answered(port: int) -> None:
    import httpx

    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    sys.exit("the bare server did not start")


def wrk(server: Watched, path: str, folder: Path, connections: int, seconds: float, users: Path | None) -> dict:
    """As many requests as `connections` get answered: rate, latencies in ms, microseconds of processor a request."""
    key = f'wrk.headers["Authorization"] = "Bearer {server.key}"' if server.key else ""
    script = WRK.format(
        method="GET" if users is None else "POST",
        key=key,
        users=users or "/dev/null",
        body="nil" if users is None else ASK.format(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "load.lua").write_text(script)
    before = server.cpu_seconds()
    words = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "10s", "-s"]
    done = subprocess.run(
        [*words, str(folder / "load.lua"), f"http://127.0.0.1:{server.port}{path}"],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    used = server.cpu_seconds() - before
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    rate = found["requests"] / found["seconds"]
    return {**found, "connections": connections, "rate": rate, "cpu_us": used / max(1, found["requests"]) * 1e6}


def fixed_rate(server: Watched, streams: list[dict], seconds: float, connections: int = 64) -> dict:
    """Streams of requests at fixed rates (`open_loop`): latencies in ms from when each was due."""
    plan = {"port": server.port, "connections": connections, "seconds": seconds}
    plan["streams"] = [{**stream, "key": server.key} for stream in streams]
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, str(HERE / "open_loop.py")], input=json.dumps(plan), check=True, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    found: dict = json.loads(done.stdout)
    return {**found, "server_cpu_share": (server.cpu_seconds() - before) / seconds}


def lists(users: list[str], rate: float) -> dict:
    """A stream of recommendations."""
    return {"name": "lists", "kind": "recommend", "path": "/v1/recommendations", "users": users, "rate": rate}


def events(users: list[str], items: list[str], rate: float, batch: int, prefix: str) -> dict:
    """A stream of requests that store `batch` events each; `rate` is of requests."""
    kind = {"name": "events", "kind": "events", "path": "/v1/events", "users": users, "items": items}
    return {**kind, "rate": rate, "batch": batch, "prefix": prefix}
