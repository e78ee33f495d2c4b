"""What the page shows where it can't show what was asked for: to sign in, or what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import wraps
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from onward.errors import StoreError
from onward.serve.api.problems import ApiError, to_api_error
from onward.serve.service import Service
from onward.serve.web.pages import Frame, is_fragment, page, redirect
from onward.serve.web.session import Browser, SignInNeeded

TITLES = {
    403: "That isn't allowed",
    404: "Nothing here",
    409: "Not now",
    422: "That can't be done",
    503: "Not ready to answer",
}
STORE_AWAY = ("The event store doesn't answer", "Nothing can be read or stored now; the server's log says why.")

Answer = Callable[[Request], Awaitable[Response]]


def guarded(service: Service, answer: Answer) -> Answer:
    """A route whose errors become pages, or fragments for the alert of the page that asked."""

    @wraps(answer)
    async def answer_or_trouble(request: Request) -> Response:
        try:
            return await answer(request)
        except SignInNeeded:
            return _to_sign_in(request)
        except Exception as error:
            known = to_api_error(error)
            if known is None:
                raise
            return await _trouble(service, request, known)

    return answer_or_trouble


async def missing_page(service: Service, request: Request) -> Response:
    """What somebody sees whose browser asks for a path that isn't there."""
    with suppress(SignInNeeded):
        request.state.viewer = Browser(request).viewer(service.keys)
    return await _trouble(service, request, ApiError(404, "not_found", "there is nothing at this path"))


def _to_sign_in(request: Request) -> Response:
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    after = target if request.method == "GET" else "/"
    return redirect(f"/sign-in?next={quote(after, safe='')}")


async def _trouble(service: Service, request: Request, error: ApiError) -> Response:
    title, detail = TITLES.get(error.status, "That didn't work"), f"{error.detail[:1].upper()}{error.detail[1:]}."
    if error.code == "store":
        title, detail = STORE_AWAY
    waits = error.retry_after is not None and "try again" not in detail
    problem = {"title": title, "detail": detail, "hint": "Try again in a moment." if waits else ""}
    template, frame = "trouble", Frame(title)
    if not is_fragment(request):
        model = None if error.code == "store" else await _serving(service)
        template, frame = "error", Frame(title, viewer=getattr(request.state, "viewer", None), model=model)
    response = page(Browser(request), template, frame, {"problem": problem}, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


async def _serving(service: Service) -> str | None:
    """Name of the model that serves; None where the store can't say."""
    with suppress(StoreError):
        return (await asyncio.to_thread(service.store.deployment)).active
    return None
