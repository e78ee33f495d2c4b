"""Who may ask what: keys and roles, and without keys only programs of this machine.

A web page of any site can post to `localhost`. So a server without keys, which is bound to loopback, answers only
requests whose Host is loopback and whose Origin, if there is one, is itself; and bodies must be of a type that a page
can't send across sites without asking first, which is never granted.
"""

from __future__ import annotations

import re

from onward.serve.api.keys import Key, Keys
from onward.serve.api.limits import RateLimit
from onward.serve.api.problems import ApiError
from onward.serve.store.protocol import Role

LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
"""Host headers of this machine."""
OPEN = ("/healthz", "/readyz", "/openapi.json")
"""Paths that need no key."""
UPLOAD = "/v1/models"
WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
"""Methods of requests that may carry a body."""
ARCHIVES = (b"application/gzip", b"application/x-tar", b"application/zip", b"application/octet-stream")
"""Media types of an uploaded model."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
"""Of every answer that doesn't set its own."""

Headers = dict[bytes, bytes]


class Security:
    """The rules for one worker.

    Args:
        keys: of the store.
        rate: what a key may ask for.
    """

    def __init__(self, keys: Keys, rate: RateLimit) -> None:
        self._keys, self._rate = keys, rate

    def admit(self, method: str, path: str, headers: Headers) -> Key | None:
        """Let a request in, or raise ApiError: 400 (Host), 401, 403, 415, 429. Returns its key, if keys are needed."""
        api = path.startswith("/v1/") or path == "/metrics"
        key = None
        if not self._keys.needed:
            check_loopback(method, headers)
        elif api:
            key = self._checked(headers.get(b"authorization"), role_of(method, path))
        if api and method in WITH_BODY and method != "DELETE":
            check_media_type(path, headers.get(b"content-type", b""))
        return key

    def _checked(self, authorization: bytes | None, role: Role) -> Key:
        if authorization is None:
            raise ApiError(401, "no_key", "this server needs a key: Authorization: Bearer KEY")
        scheme, _, presented = authorization.decode("latin-1").partition(" ")
        key = self._keys.check(presented.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise ApiError(401, "bad_key", "this key is unknown or was revoked")
        self._rate.take(key.id)
        if not key.may(role):
            raise ApiError(403, "role", f"this needs a key with the role '{role}', and this one has '{key.role}'")
        return key


def role_of(method: str, path: str) -> Role:
    """The role that a request needs."""
    if method == "GET" or path == "/v1/recommendations":
        return "read"
    if path.startswith((UPLOAD, "/v1/users/")):
        return "admin"
    return "write"


def check_loopback(method: str, headers: Headers) -> None:
    """Without keys: the Host is this machine, and a page that asks is the server's own. Raises ApiError."""
    host = headers.get(b"host", b"").decode("latin-1")
    if LOOPBACK.fullmatch(host) is None:
        raise ApiError(400, "host", "without keys this server answers only to localhost; make one: onward keys create")
    origin = headers.get(b"origin")
    own = origin is None or origin.decode("latin-1") == f"http://{host}"
    followed = method == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"  # a link that somebody clicked
    if not own or (headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin") and not followed):
        raise ApiError(403, "origin", "without keys this server answers no page but its own")


def check_media_type(path: str, content_type: bytes) -> None:
    """Bodies are JSON, and archives where a model is uploaded. Raises ApiError 415."""
    kind = content_type.partition(b";")[0].strip().lower()
    if path == UPLOAD:
        if kind not in ARCHIVES:
            raise ApiError(415, "media_type", "a model is sent as application/x-tar, gzip or zip")
    elif kind != b"application/json":
        raise ApiError(415, "media_type", "a body is sent with Content-Type: application/json")
