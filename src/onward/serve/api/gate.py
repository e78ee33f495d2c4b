"""The gate: what every request passes before a route sees it, and every answer before it leaves.

Keys, roles, rates, media types, sizes; security headers; errors as problems; counts. The two routes that carry the
load, recommendations and events, are answered here without the framework, which costs more than the answer.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from onward.serve.api.limits import Receive, check_length, limited, read_already, read_body
from onward.serve.api.metrics import Metrics
from onward.serve.api.problems import ApiError, to_api_error
from onward.serve.api.security import HEADERS, UPLOAD, WITH_BODY, Security

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Lane = Callable[[bytes], Awaitable[bytes]]
"""A whole JSON body to a whole JSON answer."""

log = structlog.get_logger("onward.serve")


class Gate:
    """ASGI application around the routes.

    Args:
        app: the routes.
        security: who may ask what.
        metrics: counts.
        lanes: path -> what answers a POST to it at once.
        worker: number that every answer carries.
        body_bytes: largest body.
        archive_bytes: largest body of an upload.
    """

    def __init__(
        self,
        app: App,
        security: Security,
        metrics: Metrics,
        lanes: dict[str, Lane],
        worker: int,
        body_bytes: int,
        archive_bytes: int,
    ) -> None:
        self._app, self._security, self._metrics, self._lanes = app, security, metrics, lanes
        self._body_bytes, self._archive_bytes = body_bytes, archive_bytes
        self._headers = [*HEADERS, (b"x-onward-worker", b"%d" % worker)]
        self._json_headers = [(b"content-type", b"application/json"), *self._headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path: str = scope["path"]
        answer = _Answer(send, self._headers)
        try:
            headers = dict(scope["headers"])
            self._security.admit(scope["method"], path, headers)
            limit = self._archive_bytes if path == UPLOAD else self._body_bytes
            check_length(headers.get(b"content-length"), limit)
            if path == UPLOAD or scope["method"] not in WITH_BODY:
                await self._app(scope, limited(receive, limit), answer)
                return
            body = await read_body(receive, limit)
            lane = self._lanes.get(path) if scope["method"] == "POST" else None
            if lane is None:
                await self._app(scope, read_already(body, receive), answer)
            else:
                made = await lane(body)
                answer.status = 200
                await _reply(send, 200, self._json_headers, made)
        except Exception as error:
            if not answer.started:  # else a route has answered the error, or can't any more
                await answer.fail(problem(error, scope["method"]))
        finally:
            route = path.removeprefix("/v1/") if path in self._lanes else "other"
            self._metrics.count(f"requests:{route}:{answer.status // 100}xx")
            if route == "recommendations":
                self._metrics.observe("stage:total", time.perf_counter() - started)


class _Answer:
    """`send` that adds the headers and remembers the status."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._headers = send, headers
        self.status = 500
        self.started = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            own = {name for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *(header for header in self._headers if header[0] not in own),
            ]
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Answer a problem."""
        self.status = error.status
        await _reply(self._send, error.status, [*error.headers(), *self._headers], error.body())


async def _reply(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


def problem(error: Exception, method: str) -> ApiError:
    """How an error is answered; what nobody raised on purpose is logged."""
    known = to_api_error(error)
    if known is not None:
        return known
    _log_fault(error, method)
    return ApiError(500, "fault", "something went wrong in the server; its log says what")


def _log_fault(error: BaseException, method: str) -> None:
    """Write where a fault came from: its kind and the places in the code, never values, which may name users."""
    places = [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    log.error("fault", method=method, error=type(error).__name__, at=" > ".join(places[-6:]))
