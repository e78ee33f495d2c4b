"""The HTTP application: the routes under /v1, health, metrics and the page, behind the gate."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from onward.errors import OnwardError
from onward.serve.api.catalog import catalog_router
from onward.serve.api.gate import Gate, problem
from onward.serve.api.health import health_router
from onward.serve.api.lanes import Lane
from onward.serve.api.limits import RateLimit
from onward.serve.api.live import live_router, starts
from onward.serve.api.models import models_router
from onward.serve.api.openapi import describe
from onward.serve.api.problems import ApiError, invalid
from onward.serve.api.security import HEADERS, Security
from onward.serve.api.users import users_router
from onward.serve.service import Service


def create_app(service: Service, workers: int = 1, page: bool = True) -> tuple[Gate, list[Lane]]:
    """The application of one worker, ASGI, and the lanes past it.

    Args:
        service: what answers.
        workers: that share the rate limits.
        page: whether to serve the live page at /.
    """
    limits, metrics = service.settings.limits, service.metrics
    security = Security(service.keys, RateLimit(limits.rate, workers))
    headers = [*HEADERS, (b"x-onward-worker", b"%d" % service.worker)]
    gate = Gate(
        routes(service, page), security, metrics, headers, limits.body_bytes, service.settings.models.archive_bytes
    )
    started = starts(service).items()
    return gate, [Lane(path, start, security, metrics, headers, limits.body_bytes) for path, start in started]


def routes(service: Service, page: bool) -> FastAPI:
    """Every route, without the gate."""
    app = FastAPI(
        title="Onward",
        version=version("onward"),
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    for router in (live_router, catalog_router, users_router, models_router, health_router):
        app.include_router(router(service))
    describe(app)
    if page:
        from onward.serve.web.routes import page_router

        app.include_router(page_router(service))
    app.add_exception_handler(HTTPException, partial(_missing_page, service) if page else _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (ApiError, OnwardError, Exception):
        app.add_exception_handler(kind, _failed)
    return app


_WORDS = {
    400: ("bad_request", "the body can't be read as JSON"),
    404: ("not_found", "there is nothing at this path"),
    405: ("method", "this path doesn't know the method"),
}


def _http_error(_: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers: Any = getattr(error, "headers", None) or {}
    code, detail = _WORDS.get(status, ("error", "the request can't be answered"))
    return problem_response(ApiError(status, code, detail, allow=headers.get("allow") or headers.get("Allow")))


async def _missing_page(service: Service, request: HttpRequest, error: Exception) -> Response:
    """A page for somebody whose browser asked for a path that isn't there; programs get the problem."""
    from onward.serve.web.trouble import missing_page

    missing = isinstance(error, HTTPException) and error.status_code == 404
    if missing and not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", ""):
        return await missing_page(service, request)
    return _http_error(request, error)


def _invalid(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(invalid(error.errors()))


def _failed(request: HttpRequest, error: Exception) -> Response:
    return problem_response(problem(error, request.method))


def problem_response(error: ApiError) -> Response:
    """A problem as the framework's response."""
    headers = {name.decode(): value.decode() for name, value in error.headers()}
    return Response(error.body(), error.status, headers)
