"""Connections that can't exhaust the server: capped for an address and in total, and closed when they are slow.

A request has `request_seconds` from its first byte to its last, a new connection as long for its first request, and an
answer as long to be read. A thousand connections that trickle cost a thousand descriptors for that time and no more.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from onward.serve.api.lanes import Lane, head_lines
from onward.serve.api.metrics import Metrics
from onward.serve.api.problems import ApiError
from onward.serve.api.security import HEADERS
from onward.serve.process.express import Express
from onward.serve.settings import ConnectionsConfig

HEAD_BYTES = 65_536
"""Of a request's line and headers that are still incomplete, at most, and of what stands between or behind pieces of a
body: extensions and trailers."""
AT_ONCE = 50
"""Connections that are looked at before requests have their turn."""
SPARE_DESCRIPTORS = 256
"""Descriptors kept for files and for connections that are being refused; half of them where there are few."""


class Connections:
    """What is open in this worker.

    Args:
        settings: the limits.
        metrics: counts what was closed.
        lanes: what requests may take past the application.
    """

    def __init__(self, settings: ConnectionsConfig, metrics: Metrics, lanes: Sequence[Lane] = ()) -> None:
        self.lanes = {lane.path.encode(): lane for lane in lanes}
        self.seconds = settings.request_seconds
        self.metrics = metrics
        self._per_address = settings.per_address
        descriptors = _descriptors()
        self._total = min(settings.total, descriptors - min(SPARE_DESCRIPTORS, descriptors // 2))
        self._addresses: Counter[str] = Counter()
        self.open: set[GuardedProtocol] = set()

    def admit(self, address: str, connection: GuardedProtocol) -> bool:
        """Count a connection in; False when there are too many."""
        if len(self.open) >= self._total or self._addresses[address] >= self._per_address:
            self.metrics.count("connections_refused")
            return False
        self._addresses[address] += 1
        self.open.add(connection)
        return True

    def leave(self, address: str, connection: GuardedProtocol) -> None:
        """Count a connection out."""
        if connection in self.open:
            self.open.discard(connection)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    async def sweep(self, now: float) -> None:
        """Close what is slow, some at a time, so that requests come in between; to be called about twice a second."""
        for number, connection in enumerate(list(self.open)):
            connection.check(now)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
        self.metrics.gauge("connections", len(self.open))

    def protocol(self) -> type[HttpToolsProtocol]:
        """The protocol class that uvicorn makes for each connection."""
        return type("Protocol", (GuardedProtocol,), {"guard": self})


def _descriptors() -> int:
    """Raise the limit of descriptors as far as it goes; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1_048_576


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with deadlines and limits."""

    guard: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = ""
        self._began: float | None = None  # when the request that isn't complete began
        self._stuck: float | None = None  # since when the peer doesn't read, or a closed connection doesn't end
        self._bare = 0  # bytes of a head that isn't complete, or since the last piece of the body
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it in, or end it."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._began = self.loop.time()
        if not self.guard.admit(self._address, self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self.guard.leave(self._address, self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a request began, and how long its head is."""
        if self.transport.is_closing():
            return
        if self._began is None:
            self._began = self.loop.time()
        self._bare += len(data)
        super().data_received(data)
        if self._bare > HEAD_BYTES:
            self._refuse(ApiError(431, "head", f"a request's line and headers have at most {HEAD_BYTES:,} bytes"))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._bare, self._in_body = 0, False
        if self._began is None:  # it follows another in the same piece of data
            self._began = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the body, a trailer, is none, and changes nothing of what was said before."""
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body follows; a request that may takes its lane."""
        self._bare, self._in_body = 0, True
        if sum(name == b"host" for name, _ in self.headers) > 1:  # RFC 9112, 3.2; which of them is meant nobody can say
            raise ValueError("a request has one Host header")  # the parser ends, and the connection with it: status 400
        lane = self.guard.lanes.get(self.url)
        if lane is None or not self._is_plain(lane.body_bytes):
            super().on_headers_complete()
        else:
            self.cycle = Express(self, lane)  # type: ignore[assignment]

    def _is_plain(self, body_bytes: int) -> bool:
        """Whether there is nothing about a request, whose head was read, that takes more than to read and answer it."""
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        if self.expect_100_continue or self.parser.should_upgrade():
            return False
        if self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete):
            return False  # the peer doesn't read, or an answer is on its way
        length = next((value for name, value in self.headers if name == b"content-length"), b"")
        return length.isdigit() and int(length) <= body_bytes

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._bare = 0
        super().on_body(body)
        if isinstance(self.cycle, Express):
            self.flow.resume_reading()  # it is read whole, and never asks for more

    def on_message_complete(self) -> None:
        """The request is complete; the clock stops."""
        super().on_message_complete()
        self._began = None
        self._bare = 0
        if isinstance(self.cycle, Express):
            self.cycle.answer()

    def pause_writing(self) -> None:
        """The peer doesn't read."""
        super().pause_writing()
        self._stuck = self.loop.time()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self._stuck = None

    def check(self, now: float) -> None:
        """Close the connection when its time is over."""
        if self.transport.is_closing() and self._stuck is None:
            self._stuck = now
        if self._stuck is not None:
            if now - self._stuck > self.guard.seconds:
                self.guard.metrics.count("connections_slow")
                self.transport.abort()
        elif self._began is not None and now - self._began > self.guard.seconds:
            self.guard.metrics.count("connections_slow")
            self._refuse(ApiError(408, "slow", f"a request is complete within {self.guard.seconds:g} seconds"))

    def send_400_response(self, msg: str) -> None:
        """What can't be read as HTTP."""
        self._refuse(ApiError(400, "http", "this is no HTTP request that can be read"))

    def _refuse(self, error: ApiError) -> None:
        """End the connection with a problem, where no answer is on its way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = error.body()
            headers = [*error.headers(), *HEADERS, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
            self.transport.write(STATUS_LINE[error.status] + head_lines(headers) + b"\r\n" + body)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what the application still sends goes nowhere
            self.cycle.message_event.set()
        self.transport.close()
