"""From a template to a response: the frame around every page, and the headers that keep it safe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from onward import __version__
from onward.serve.web import assets
from onward.serve.web.session import Browser, Viewer
from onward.serve.web.words import FILTERS

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every page: nothing inline, nothing from elsewhere."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
PLACES = (
    ("try", "/", "Try it"),
    ("operations", "/operations", "Operations"),
    ("model", "/model", "Model"),
    ("catalog", "/catalog", "Catalog"),
    ("users", "/users", "Users"),
)
HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "includeIndicatorStyles": False,
    "selfRequestsOnly": True,
    "historyEnabled": False,
    "timeout": 20_000,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "[45]..", "swap": True, "error": True, "target": "#alert", "swapOverride": "innerHTML"},
    ],
}
"""Settings of htmx: no code from attributes, and errors go to the page's alert."""


@dataclass(frozen=True)
class Frame:
    """What stands around a page.

    Attributes:
        title: of the window.
        place: key of PLACES that is marked.
        viewer: who looks; None before signing in.
        model: name of the model that serves.
    """

    title: str
    place: str = ""
    viewer: Viewer | None = None
    model: str | None = None


def page(
    browser: Browser, template: str, frame: Frame, values: dict[str, Any] | None = None, status: int = 200
) -> HTMLResponse:
    """A page or a fragment of one."""
    content = _environment().get_template(f"{template}.html.j2").render(page=frame, **(values or {}))
    response = HTMLResponse(content, status, HEADERS)
    browser.remember(response)
    return response


def redirect(target: str, browser: Browser | None = None) -> Response:
    """To another page, after a form; the browser's cookies are set where it is told."""
    response = RedirectResponse(target, 303)
    if browser is not None:
        browser.remember(response)
    return response


def is_fragment(request: Request) -> bool:
    """Whether htmx asks, and so replaces a part of the page."""
    return request.headers.get("hx-request") == "true"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onward.serve.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= FILTERS
    environment.globals |= {
        "asset": assets.url,
        "places": PLACES,
        "version": __version__,
        "htmx_config": json.dumps(HTMX),
    }
    environment.globals["parts"] = environment.get_template("parts.html.j2").module  # macros of every template
    return environment
