"""Scripts, styles and the icon of the page: read once, served from memory, named with their content's hash.

Nothing of a request's path ever becomes the path of a file: it is looked up among these names.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
SOURCES = {
    "theme.css": ("onward.evaluate", "web/theme.css"),
    "live.css": ("onward.serve.web", "static/live.css"),
    "icon.svg": ("onward.serve.web", "static/icon.svg"),
    "htmx.js": ("onward.serve.web", "static/vendor/htmx.min.js"),
    "chart.js": ("onward.evaluate", "web/vendor/chart.umd.min.js"),
    "charts.js": ("onward.evaluate", "web/charts.js"),
    "live.js": ("onward.serve.web", "static/live.js"),
    "figures.js": ("onward.serve.web", "static/figures.js"),
}
"""Name -> package and place in it. The report's charts and colours are the page's too."""


@dataclass(frozen=True)
class Asset:
    """A file to send.

    Attributes:
        name: with the start of its content's hash, so that a browser may keep it for ever.
        content: its bytes.
        media_type: for the header.
    """

    name: str
    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """All of them by plain name."""
    return {name: _read(name, files(package).joinpath(place)) for name, (package, place) in SOURCES.items()}


@cache
def by_hashed_name() -> dict[str, Asset]:
    """All of them by the name that pages link to."""
    return {asset.name: asset for asset in assets().values()}


def url(name: str) -> str:
    """Where a page finds an asset."""
    return f"/assets/{assets()[name].name}"


def _read(name: str, file: Traversable) -> Asset:
    content = re.sub(rb"//# sourceMappingURL=.*", b"", file.read_bytes())  # no browser should ask for a map
    stem, _, suffix = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(f"{stem}.{digest}.{suffix}", content, TYPES[suffix])
