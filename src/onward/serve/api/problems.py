"""Errors over HTTP: every one is an `application/problem+json` (RFC 9457) that tells nothing of the inside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import pydantic_core
import structlog
from pydantic import ValidationError

from onward.errors import (
    ConfigError,
    ConflictError,
    DataError,
    MissingExtraError,
    OnwardError,
    OutputError,
    Overloaded,
    StoreError,
)
from onward.serve.api.schemas import Wire

MEDIA_TYPE = b"application/problem+json"
SHOWN_ERRORS = 20
"""Fields that a 422 names, at most."""
SAID_AGAIN = 60.0
"""Seconds after which the log repeats what is wrong with the store."""

log = structlog.get_logger("onward.serve")


class FieldError(Wire):
    """What is wrong with one field of a body."""

    where: str
    """The field, such as `events.3.item`."""
    message: str
    """What is wrong with it."""


class ProblemOut(Wire):
    """An error."""

    type: str = "about:blank"
    """Always about:blank: `code` says which error it is."""
    title: str
    """The phrase of the status."""
    status: int
    """The HTTP status."""
    code: str
    """Which error it is, for programs."""
    detail: str
    """What is wrong and what to do, for people."""
    position: int | None = None
    """Where an expression can't be read: its character, from 1."""
    errors: list[FieldError] | None = None
    """The fields that are wrong."""


class ApiError(Exception):
    """An error to answer.

    Attributes:
        status: of HTTP.
        code: which error, for programs.
        detail: for people; nothing of the inside.
        retry_after: seconds after which it is worth asking again.
        position: the character of an expression that can't be read.
        errors: the fields that are wrong.
        allow: methods that the path knows, for 405.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: float | None = None,
        position: int | None = None,
        errors: Iterable[FieldError] = (),
        allow: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.retry_after, self.position, self.errors, self.allow = retry_after, position, tuple(errors), allow

    def body(self) -> bytes:
        """The problem as JSON."""
        values: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.position is not None:
            values["position"] = self.position
        if self.errors:
            values["errors"] = [error.model_dump() for error in self.errors]
        return pydantic_core.to_json(values, inf_nan_mode="null")

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer, but for its length."""
        made = [(b"content-type", MEDIA_TYPE)]
        if self.retry_after is not None:
            made.append((b"retry-after", b"%d" % max(1, round(self.retry_after))))
        if self.status == 401:
            made.append((b"www-authenticate", b"Bearer"))
        if self.allow is not None:
            made.append((b"allow", self.allow.encode("ascii")))
        return made


def invalid(errors: Iterable[Mapping[str, Any]]) -> ApiError:
    """The 422 of what pydantic found; the values given are not repeated."""
    found = list(errors)
    fields = [
        FieldError(
            where=".".join(str(part) for part in error["loc"]),
            message="there is no such field" if error["type"] == "extra_forbidden" else str(error["msg"]),
        )
        for error in found[:SHOWN_ERRORS]
    ]
    first = fields[0]
    said = f"{first.where}: {first.message}" if first.where else first.message
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return ApiError(422, "invalid", f"{said}{more}", errors=fields)


def no_such_item() -> ApiError:
    """The 404 of an item."""
    return ApiError(404, "no_such_item", "the catalog has no such item")


def to_api_error(error: Exception) -> ApiError | None:
    """How an error is answered; None for one that nobody raised on purpose, which is a 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ValidationError):
        return invalid(error.errors(include_url=False, include_context=False, include_input=False))
    if isinstance(error, Overloaded):
        return ApiError(503, "overloaded", "too many requests are waiting; try again", retry_after=error.retry_after)
    if isinstance(error, StoreError):
        _store_trouble.log(error)
        return ApiError(503, "store", "the event store can't be used now; try again", retry_after=1.0)
    if isinstance(error, OutputError):  # its message names a path
        return ApiError(503, "output", "the server can't write what was sent; its disk may be full", retry_after=60.0)
    if isinstance(error, ConflictError):
        return ApiError(409, "conflict", said(error))
    if isinstance(error, ConfigError | DataError):
        return ApiError(422, error.code, said(error), position=getattr(error, "position", None))
    if isinstance(error, MissingExtraError):
        return ApiError(501, error.code, said(error))
    return None


class _StoreTrouble:
    """Tells the operator what an answer doesn't: once, and again every minute while it lasts."""

    def __init__(self) -> None:
        self._message, self._until = "", 0.0

    def log(self, error: StoreError) -> None:
        now = time.monotonic()
        if error.message != self._message or now > self._until:
            self._message, self._until = error.message, now + SAID_AGAIN
            log.error("store", problem=error.message, advice=error.hint)


_store_trouble = _StoreTrouble()


def said(error: OnwardError) -> str:
    """Message and hint in one line."""
    return f"{error.message}; {error.hint}" if error.hint else error.message
