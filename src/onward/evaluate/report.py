"""One self-contained HTML page of a comparison, or of several: styles, scripts and data are inside, no network.

The tables hold every number without JavaScript; the script draws charts from the same values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from onward.errors import OutputError
from onward.evaluate import page as page_of
from onward.evaluate.compare import Comparison
from onward.evaluate.report_facts import RunFacts, read_facts
from onward.evaluate.report_view import build_page
from onward.files import atomic_file


def write_report(comparison: Comparison | Sequence[Comparison], path: str | Path) -> Path:
    """Write the report; a report that is there already is replaced, any other file is not.

    Args:
        comparison: one, or several under different protocols for one page. A single run is a comparison of one row.

    Raises:
        OutputError: the file is something else, or can't be written.
        FormatError: a run of the comparison is no longer there.
    """
    target = Path(path)
    if target.is_file() and page_of.MARK not in _head(target):
        raise OutputError(f"{target} exists and is not a report of onward", "choose another name, or remove it")
    comparisons = [comparison] if isinstance(comparison, Comparison) else list(comparison)
    if not comparisons:
        raise ValueError("a report needs a comparison")
    facts = {row.path: read_facts(row.run) for one in comparisons for row in one.rows}
    page = render(comparisons, facts)
    with atomic_file(target, overwrite=True) as new:
        new.write_text(page, encoding="utf-8")
    return target


def render(comparisons: Sequence[Comparison], facts: Mapping[str, RunFacts]) -> str:
    """The page as HTML; `facts` by path of each row's run."""
    page = build_page(comparisons, facts)
    return page_of.render(page_of.HERE, "report.html.j2", ("report.js",), page, asdict(page))


def _head(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(2048).decode("utf-8", errors="replace")
