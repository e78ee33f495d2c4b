"""How much one key, and one body, may ask for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from onward.serve.api.problems import ApiError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class RateLimit:
    """Requests a second of one key in this worker, after a second's worth at once.

    Args:
        rate: requests a second over all workers; 0 sets no limit.
        workers: that share it.
    """

    def __init__(self, rate: float, workers: int) -> None:
        self._rate = rate / workers
        self._most = max(1.0, self._rate)
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> None:
        """One request of a key. Raises ApiError 429 when it has used its share."""
        if not self._rate:
            return
        now = time.monotonic()
        left, since = self._left.get(key, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        if left < 1:
            raise ApiError(429, "rate", "this key has used its requests for now", retry_after=(1 - left) / self._rate)
        self._left[key] = (left - 1, now)


def check_length(length: bytes | None, limit: int) -> None:
    """Refuse a body that says it is too large. Raises ApiError 413."""
    if length is not None and length.isdigit() and int(length) > limit:
        raise _too_large(limit)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ApiError 413 once it is larger than the limit, whatever it said."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "incomplete", "the body ended before it was complete")
        body += message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit)
    return body


def read_already(body: bytes, receive: Receive) -> Receive:
    """The stream of a body that was read whole."""
    given = False

    async def replayed() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def limited(receive: Receive, limit: int) -> Receive:
    """The same stream of a body; it raises ApiError 413 once more than the limit came."""
    total = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too_large", f"a body has at most {limit:,} bytes")
