"""Load at a fixed rate, whatever the server does: requests are due at random moments (a Poisson process), and a
latency counts from when its request was due, so that a server that stalls can't hide it by slowing the load down.

A process of its own; the plan comes as JSON on standard input, the result goes as JSON to standard output.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, deque

import uvloop

TICK = 0.001
"""Seconds between two looks at what is due; a latency is at most so much too long."""
GRACE = 5.0
"""Seconds that answers may come after the last request."""


class Stream:
    """One kind of request at one rate."""

    def __init__(self, plan: dict, seed: int) -> None:
        self.plan, self.random = plan, random.Random(seed)
        self.users, self.items, self.batch = plan["users"], plan.get("items", []), plan.get("batch", 1)
        self.next = time.perf_counter() + self.random.expovariate(plan["rate"])
        self.latencies: list[tuple[float, float]] = []
        self.statuses: Counter[int] = Counter()
        self.made = 0
        head = f"POST {plan['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.head = (head + (f"Authorization: Bearer {plan['key']}\r\n" if plan.get("key") else "")).encode()

    def request(self) -> bytes:
        """The bytes of the next request."""
        self.made += 1
        if self.plan["kind"] == "recommend":
            body = json.dumps({"user": self.random.choice(self.users), "k": 10}).encode()
        else:
            events = [
                {
                    "id": f"{self.plan['prefix']}-{self.made}-{number}",
                    "user": self.random.choice(self.users),
                    "item": self.random.choice(self.items),
                }
                for number in range(self.batch)
            ]
            body = json.dumps(events[0] if self.batch == 1 else {"events": events}).encode()
        return self.head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, load: Load) -> None:
        self.load, self.buffer, self.doing = load, b"", None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)

    def ask(self, stream: Stream, due: float, data: bytes) -> None:
        self.doing = stream, due
        self.transport.write(data)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        if self.doing is None:
            return  # the server says that a connection was never used, and closes it
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        place = self.buffer.lower().find(b"content-length:")
        length = int(self.buffer[place + 15 : self.buffer.find(b"\r", place)])
        if len(self.buffer) < end + 4 + length:
            return
        stream, due = self.doing  # type: ignore[misc]
        stream.statuses[int(self.buffer[9:12])] += 1
        stream.latencies.append((due, time.perf_counter() - due))
        self.buffer, self.doing = self.buffer[end + 4 + length :], None
        self.load.free(self)


class Load:
    """All streams over a pool of connections."""

    def __init__(self, streams: list[Stream], port: int, connections: int) -> None:
        self.streams, self.port, self.connections = streams, port, connections
        self.idle: list[Connection] = []
        self.waiting: deque[tuple[Stream, float, bytes]] = deque()
        self.broken = 0
        self.busy = 0

    def free(self, connection: Connection) -> None:
        if self.waiting:
            connection.ask(*self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.doing is not None:
            self.broken += 1
        if not self.ended:
            self.tasks.add(asyncio.ensure_future(self.connect()))

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        except OSError:
            self.broken += 1

    async def run(self, seconds: float) -> None:
        self.ended, self.tasks = False, set[asyncio.Future]()
        await asyncio.gather(*(self.connect() for _ in range(self.connections)))
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            for stream in self.streams:
                while stream.next <= now:
                    self.send(stream)
            await asyncio.sleep(TICK)
        until = time.perf_counter() + GRACE
        while any(sum(one.statuses.values()) < one.made for one in self.streams) and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        self.ended = True

    def send(self, stream: Stream) -> None:
        due = stream.next
        stream.next += stream.random.expovariate(stream.plan["rate"])
        data = stream.request()
        if self.idle:
            self.idle.pop().ask(stream, due, data)
        else:
            self.waiting.append((stream, due, data))


def summary(stream: Stream, seconds: float, broken: int) -> dict:
    """What came of a stream; latencies in ms, `minutes` the p99 of each minute."""
    values = sorted(taken for _, taken in stream.latencies)
    first = min((due for due, _ in stream.latencies), default=0.0)
    minutes: dict[int, list[float]] = {}
    for due, taken in stream.latencies:
        minutes.setdefault(int((due - first) // 60), []).append(taken)
    good = stream.statuses[200]
    return {
        "asked": stream.made,
        "rate": stream.plan["rate"],
        "answered_a_second": good / seconds,
        "errors": stream.made - good,
        "statuses": {str(status): number for status, number in stream.statuses.items()},
        "broken": broken,
        **{f"p{p:g}": quantile(values, p / 100) * 1e3 for p in (50, 90, 99, 99.9)},
        "max": max(values, default=0.0) * 1e3,
        "minutes": [quantile(sorted(minutes[minute]), 0.99) * 1e3 for minute in sorted(minutes)],
    }


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def main() -> None:
    plan = json.load(sys.stdin)
    started = time.process_time()
    streams = [Stream(one, number) for number, one in enumerate(plan["streams"])]
    load = Load(streams, plan["port"], plan["connections"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load.run(plan["seconds"]))
    cpu = time.process_time() - started
    found = {one.plan["name"]: summary(one, plan["seconds"], load.broken) for one in streams}
    json.dump({"streams": found, "generator_cpu_share": cpu / plan["seconds"]}, sys.stdout)


if __name__ == "__main__":
    main()
