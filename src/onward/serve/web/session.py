"""Who looks at the page: the key that somebody signed in with, the token that forms carry, the anonymous visitor.

Three cookies, all HttpOnly and SameSite=Strict: the key, a random number of this browser, and the visitor's session.
The server keeps no state of it: the key is checked with every request, as the API checks it, so a revoked one is out at
once and on every worker. The CSRF token is a keyed hash of the two first cookies, which no other site can read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from onward.serve.api.keys import RANK, Keys
from onward.serve.api.problems import ApiError
from onward.serve.api.schemas import SESSION
from onward.serve.store.protocol import Role

KEY, BROWSER, VISITOR = "onward_key", "onward_browser", "onward_visitor"
SIGNED_IN = 12 * 3600
"""Seconds after which one signs in again."""
KEPT = 180 * 24 * 3600
"""Seconds that a browser stays the same visitor."""
_RANDOM = re.compile(r"[\w-]{22}", re.ASCII)


class SignInNeeded(Exception):  # noqa: N818 - not a fault
    """The server has keys, and this browser presented no good one."""


@dataclass(frozen=True)
class Viewer:
    """Who looks.

    Attributes:
        csrf: the token that every form of this browser carries.
        visitor: session of the anonymous visitor that this browser is.
        key: id of the key that was signed in with; None where the server has no keys.
        role: of that key; `admin` where the server has no keys.
    """

    csrf: str
    visitor: str
    key: str | None
    role: Role

    @property
    def visitor_user(self) -> str:
        """The visitor as a user of the store."""
        return SESSION + self.visitor

    @property
    def may_write(self) -> bool:
        """Whether clicks are taken."""
        return RANK[self.role] >= RANK["write"]

    @property
    def may_switch(self) -> bool:
        """Whether models may be switched."""
        return RANK[self.role] >= RANK["admin"]


class Browser:
    """What the cookies of a request say; `remember` puts new ones onto its response."""

    def __init__(self, request: Request) -> None:
        cookies = request.cookies
        # a proxy that ends TLS says so; who claims it falsely only gets cookies that don't come back
        self._secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        self._new: dict[str, tuple[str, int]] = {}
        self.key = cookies.get(KEY, "")
        self._number = self._known(cookies, BROWSER) or self._make(BROWSER)
        self.visitor = self._known(cookies, VISITOR) or self._make(VISITOR)

    @property
    def csrf(self) -> str:
        """The token of this browser and key."""
        return hmac.new(self._number.encode(), f"csrf {self.key}".encode(), hashlib.sha256).hexdigest()

    def check_csrf(self, given: str) -> None:
        """Raises ApiError (403) unless the form carries this browser's token."""
        if not hmac.compare_digest(self.csrf.encode(), given.encode()):
            raise ApiError(403, "csrf", "this form is out of date, or came from elsewhere: load the page again")

    def viewer(self, keys: Keys) -> Viewer:
        """Who looks. Raises SignInNeeded."""
        if not keys.needed:
            return Viewer(self.csrf, self.visitor, None, "admin")
        found = keys.check(self.key)
        if found is None:
            raise SignInNeeded
        return Viewer(self.csrf, self.visitor, found.id, found.role)

    def sign_in(self, key: str) -> None:
        """Remember a key that was checked."""
        self.key = key
        self._new[KEY] = (key, SIGNED_IN)

    def sign_out(self) -> None:
        """Forget the key, and everything else that this browser was known by."""
        self._new = {KEY: ("", 0), BROWSER: ("", 0), VISITOR: ("", 0)}

    def new_visitor(self) -> None:
        """Be another anonymous visitor from now on."""
        self.visitor = self._make(VISITOR)

    def remember(self, response: Response) -> None:
        """Put what is new into cookies."""
        for name, (value, seconds) in self._new.items():
            response.set_cookie(
                name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="strict"
            )

    def _make(self, name: str) -> str:
        value = secrets.token_urlsafe(16)
        self._new[name] = (value, KEPT)
        return value

    @staticmethod
    def _known(cookies: dict[str, str], name: str) -> str | None:
        value = cookies.get(name, "")
        return value if _RANDOM.fullmatch(value) else None


def local_path(target: str) -> str:
    """Where to go after signing in: a path of this server, or the first page for anything else."""
    parts = urlsplit(target)
    safe = not parts.scheme and not parts.netloc and target.startswith("/") and target.isprintable()
    return target if safe and not target.startswith(("//", "/\\")) else "/"
