"""The gate: what every request passes before a route sees it, and every answer before it leaves.

Keys, roles, rates, media types, sizes; security headers; errors as problems; counts.
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
from onward.serve.api.security import UPLOAD, WITH_BODY, Security

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = structlog.get_logger("onward.serve")


class Gate:
    """ASGI application around the routes.

    Args:
        app: the routes.
        security: who may ask what.
        metrics: counts.
        headers: of every answer that doesn't set its own.
        body_bytes: largest body.
        archive_bytes: largest body of an upload.
    """

    def __init__(
        self,
        app: App,
        security: Security,
        metrics: Metrics,
        headers: list[tuple[bytes, bytes]],
        body_bytes: int,
        archive_bytes: int,
    ) -> None:
        self._app, self._security, self._metrics = app, security, metrics
        self._body_bytes, self._archive_bytes = body_bytes, archive_bytes
        self._headers = headers

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
            await self._app(scope, read_already(body, receive), answer)
        except Exception as error:
            if not answer.started:  # else a route has answered the error, or can't any more
                await answer.fail(problem(error, scope["method"]))
        finally:
            self._metrics.request(path, answer.status, time.perf_counter() - started)


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
        body = error.body()
        headers = [(b"content-length", b"%d" % len(body)), *error.headers(), *self._headers]
        await self._send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


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
