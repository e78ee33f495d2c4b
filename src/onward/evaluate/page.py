"""What every self-contained page shares: the template's filters, styles, scripts and data that stand inside it."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from onward import __version__
from onward.evaluate import report_text as text

HERE = "onward.evaluate"
MARK = '<meta name="generator" content="onward'
"""Says that a file is a page of ours, which may be written anew."""


def render(package: str, template: str, scripts: tuple[str, ...], page: object, data: object) -> str:
    """A page as HTML, which opens without a network.

    Args:
        package: in whose folder `web` the template and the page's own scripts lie.
        template, scripts: names of files there.
        page: what the template shows. data: the same for the scripts, as JSON values.
    """
    return _template(package, template).render(
        page=page,
        version=__version__,
        css=_web(HERE, "theme.css") + _web(HERE, "report.css"),
        js=_web(HERE, "charts.js") + "".join(_web(package, name) for name in scripts),
        chart_js=re.sub(r"//# sourceMappingURL=.*", "", _web(HERE, "vendor/chart.umd.min.js")),
        chart_licence=_web(HERE, "vendor/chart.LICENSE.md"),
        data=safe_json(data),
    )


def safe_json(value: Any) -> str:
    """JSON that can stand inside a <script> element: no text in it can end the element or open a comment."""
    dumped = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return dumped


@cache
def _template(package: str, name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _web(package, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "metric": text.metric_name,
        "fixed": text.fixed,
        "whole": text.whole,
        "short": text.short,
        "counted": text.counted,
        "percent": text.percent,
        "duration": text.duration,
        "p_value": text.p_value,
        "day": text.day,
        "milliseconds": text.milliseconds,
        "mebibytes": text.mebibytes,
        "rank": text.rank,
    }
    return environment.get_template(name)


def _web(package: str, name: str) -> str:
    return files(package).joinpath("web", *name.split("/")).read_text(encoding="utf-8")
