"""The lanes: the two routes that carry the load, answered at the connection; the framework costs more than the answer.

What passes the gate passes here by the same rules, and is answered by the same functions as the routes' (`live`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter

from onward.serve.api.completion import Done
from onward.serve.api.gate import problem
from onward.serve.api.metrics import Metrics
from onward.serve.api.security import Security

Reply = Callable[[int, bytes, bytes], None]
"""Takes the status, the lines of the head but that of the length, and the body."""
Headers = list[tuple[bytes, bytes]]


class Lane:
    """Answers POST requests to one path.

    Args:
        path: which.
        start: takes a body and tells the answer, or raises.
        security: who may ask.
        metrics: counts.
        headers: of every answer.
        body_bytes: largest body.
    """

    def __init__(
        self,
        path: str,
        start: Callable[[bytes, Done[bytes]], None],
        security: Security,
        metrics: Metrics,
        headers: Headers,
        body_bytes: int,
    ) -> None:
        self.path, self.body_bytes = path, body_bytes
        self._start, self._security, self._metrics = start, security, metrics
        self._common = head_lines(headers)
        self._good = b"content-type: application/json\r\n" + self._common

    def answer(self, headers: Headers, body: bytes, reply: Reply) -> None:
        """Answer a request, now or later."""
        started = perf_counter()

        def done(result: bytes | Exception) -> None:
            status, head = 200, self._good
            if isinstance(result, Exception):
                error = problem(result, "POST")
                status, head, result = error.status, head_lines(error.headers()) + self._common, error.body()
            self._metrics.request(self.path, status, perf_counter() - started)
            reply(status, head, result)

        try:
            self._security.admit("POST", self.path, dict(headers))
            self._start(body, done)
        except Exception as error:
            done(error)


def head_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])
