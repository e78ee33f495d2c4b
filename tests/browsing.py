"""A real browser for tests of pages.

Needs Chromium; tests that ask for it are skipped without it, unless ONWARD_REQUIRE_BROWSER=1 (as in CI), when a
missing browser fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAINTED = """canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < pixels.length; i += 4)
    if (pixels[i + 3] === 255) colours.add(pixels.slice(i, i + 3).join(","));
  return [...colours];
}"""
"""The opaque colours on a canvas."""


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for found in map(shutil.which, names) if found), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of the module, not of the session: Playwright's event loop would be in the way of other tests' own."""
    path = chromium()
    if path is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("ONWARD_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:  # a fresh profile every time
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Watched:
    """A page with everything that it asked for and complained about."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | context))
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def painted(self, selector: str) -> list[set[str]]:
        return [set(canvas.evaluate(PAINTED)) for canvas in self.page.query_selector_all(f"{selector} canvas")]


@pytest.fixture
def open_page(browser: Browser) -> Iterator:
    opened: list[Watched] = []

    def start(url: str, **context: object) -> Watched:
        opened.append(Watched(browser, url, **context))
        return opened[-1]

    yield start
    for watched in opened:
        watched.context.close()
