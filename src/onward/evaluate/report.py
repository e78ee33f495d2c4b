"""One self-contained HTML page of a comparison, or of several: styles, scripts and data are inside, no network.

The tables hold every number without JavaScript; the script draws charts from the same values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onward.errors import OutputError
from onward.evaluate import page as page_of
from onward.evaluate.compare import Comparison
from onward.evaluate.report_facts import RunFacts, read_facts
from onward.evaluate.report_material import EXAMPLES, Material, gather
from onward.evaluate.report_view import Page, build_page
from onward.files import atomic_file
from onward.progress import OnStep, silent

SCRIPTS = ("models.js", "pareto.js", "ranks.js", "report.js")
"""The report's own, in the order in which they need each other."""
WRITTEN = ("by_user", "examples", "seeds", "tested", "detectable", "missing", "audit", "protocol", "counts", "commands")
"""Parts of a panel that are text alone, which no script draws."""


def write_report(
    comparison: Comparison | Sequence[Comparison],
    path: str | Path,
    *,
    dataset: str | Path | None = None,
    examples: int = EXAMPLES,
    on_step: OnStep = silent,
) -> Path:
    """Write the report; a report that is there already is replaced, any other file is not.

    Args:
        comparison: one, or several under different protocols for one page. A single run is a comparison of one row.
        dataset: where it is; by default where it was at the training. Without it, what needs it is left out.
        examples: single users' requests to show for each pair of models and side; 0 leaves them out.
        on_step: progress of the lists that are timed, which takes most of the time; of one comparison after the other.

    Raises:
        OutputError: the file is something else, or can't be written.
        FormatError: a run of the comparison is no longer there.
        ConfigError: a negative number of examples.
    """
    target = Path(path)
    if target.is_file() and page_of.MARK not in _head(target):
        raise OutputError(f"{target} exists and is not a report of onward", "choose another name, or remove it")
    comparisons = [comparison] if isinstance(comparison, Comparison) else list(comparison)
    if not comparisons:
        raise ValueError("a report needs a comparison")
    facts = {row.path: read_facts(row.run) for one in comparisons for row in one.rows}
    materials = [gather(one, dataset, examples, on_step=on_step) for one in comparisons]
    page = render(comparisons, facts, materials)
    with atomic_file(target, overwrite=True) as new:
        new.write_text(page, encoding="utf-8")
    return target


def render(comparisons: Sequence[Comparison], facts: Mapping[str, RunFacts], materials: Sequence[Material]) -> str:
    """The page as HTML; `facts` by path of each row's run, and what was gathered for each comparison."""
    page = build_page(comparisons, facts, materials)
    return page_of.render(page_of.HERE, "report.html.j2", SCRIPTS, page, _drawn(page))


def _drawn(page: Page) -> dict[str, Any]:
    """What the scripts draw from: the page without what only its text holds."""
    values = asdict(page)
    for panel in values["panels"]:
        for name in WRITTEN:
            panel.pop(name)
    return values


def _head(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(2048).decode("utf-8", errors="replace")
