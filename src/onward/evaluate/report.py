"""One self-contained HTML page of a comparison, or of several: styles, scripts and data are inside, no network.

The tables hold every number without JavaScript; the script draws charts from the same values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from onward import __version__
from onward.errors import OutputError
from onward.evaluate import report_text as text
from onward.evaluate.compare import Comparison
from onward.evaluate.report_facts import RunFacts, read_facts
from onward.evaluate.report_view import build_page
from onward.files import atomic_file

MARK = '<meta name="generator" content="onward'
"""Says that a file is a report, which may be written anew."""


def write_report(comparison: Comparison | Sequence[Comparison], path: str | Path) -> Path:
    """Write the report; a report that is there already is replaced, any other file is not.

    Args:
        comparison: one, or several under different protocols for one page. A single run is a comparison of one row.

    Raises:
        OutputError: the file is something else, or can't be written.
        FormatError: a run of the comparison is no longer there.
    """
    target = Path(path)
    if target.is_file() and MARK not in _head(target):
        raise OutputError(f"{target} exists and is not a report of onward", "choose another name, or remove it")
    comparisons = [comparison] if isinstance(comparison, Comparison) else list(comparison)
    if not comparisons:
        raise ValueError("a report needs a comparison")
    facts = {row.path: read_facts(row.path) for one in comparisons for row in one.rows}
    page = render(comparisons, facts)
    with atomic_file(target, overwrite=True) as new:
        new.write_text(page, encoding="utf-8")
    return target


def render(comparisons: Sequence[Comparison], facts: Mapping[str, RunFacts]) -> str:
    """The page as HTML; `facts` by path of each row's run."""
    page = build_page(comparisons, facts)
    return _template().render(
        page=page,
        version=__version__,
        css=_web("theme.css") + _web("report.css"),
        js=_web("charts.js") + _web("report.js"),
        chart_js=re.sub(r"//# sourceMappingURL=.*", "", _web("vendor/chart.umd.min.js")),
        chart_licence=_web("vendor/chart.LICENSE.md"),
        data=safe_json(asdict(page)),
    )


def safe_json(value: Any) -> str:
    """JSON that can stand inside a <script> element: no text in it can end the element or open a comment."""
    dumped = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return dumped


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
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
    }
    return environment.from_string(_web("report.html.j2"))


def _web(name: str) -> str:
    return files("onward.evaluate").joinpath("web", *name.split("/")).read_text(encoding="utf-8")


def _head(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(2048).decode("utf-8", errors="replace")
