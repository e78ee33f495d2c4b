"""What a report concludes: who is best, by how much, and what the tests could have found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onward.evaluate import report_text as text
from onward.evaluate.compare import Comparison, Difference
from onward.evaluate.results import Estimate

SIGNIFICANT = 0.05
PLOT_WIDTH, PLOT_MARGIN = 160, 8


def best(estimates: Sequence[Estimate | None], metric: str) -> int | None:
    """Index of the best value; None when there is nothing to compare, or the first two are equal."""
    known = [(estimate.value, index) for index, estimate in enumerate(estimates) if estimate is not None]
    if len(known) < 2:
        return None
    ordered = sorted(known, reverse=not text.lower_is_better(metric))
    return ordered[0][1] if ordered[0][0] != ordered[1][0] else None


INTEREST = "mse"


def predicts_interest(comparison: Comparison) -> bool:
    """Whether every model predicts how much an item is liked; the report then leads with that."""
    return all(INTEREST in row.evaluation.metrics for row in comparison.rows)


def headline(comparison: Comparison) -> list[str]:
    """The metrics of the first table."""
    metric = comparison.metric
    at = metric.partition("@")[2]
    wanted = [metric, f"hr@{at}", f"mrr@{at}", INTEREST, "f1"]
    if predicts_interest(comparison):
        wanted = [INTEREST, "accuracy", "recall", "f1"]
    known = {name for row in comparison.rows for name in row.evaluation.metrics}
    return [name for name in wanted if name in known]


def lede(comparison: Comparison, metric: str) -> str:
    """The answer in two sentences."""
    sign = 1 if text.lower_is_better(metric) else -1
    rows = sorted(comparison.rows, key=lambda row: sign * row.evaluation.metrics[metric].value)
    value = rows[0].evaluation.metrics[metric]
    name = text.metric_name(metric)
    interval = f"{text.fixed(value.value)} (95% interval {text.fixed(value.low)} to {text.fixed(value.high)})"
    if len(rows) == 1:
        return f"{rows[0].label} reaches {name} {interval}."
    said = f"{rows[0].label} comes first with {name} {interval}."
    test = comparison.test(rows[1].label, metric) or comparison.test(rows[0].label, metric)
    if test is None or {test.label, test.baseline} != {rows[0].label, rows[1].label}:
        return f"{said} {rows[1].label} follows."
    gap = text.fixed(abs(test.difference.value))
    real = "a clear difference" if test.p_holm < SIGNIFICANT else "which may be chance"
    return f"{said} {rows[1].label} follows, {gap} behind: {real} on the same users (p {text.p_value(test.p_holm)})."


def tests(comparison: Comparison) -> list[dict[str, Any]]:
    """Each model against the baseline on the main metric, with its interval's place in a small drawing."""
    chosen = [test for test in comparison.tests if test.metric == comparison.metric]
    ends = [0.0, *(end for test in chosen for end in (test.difference.low, test.difference.high))]
    low, high = min(ends), max(ends)

    def place(value: float) -> float:
        inner = PLOT_WIDTH - 2 * PLOT_MARGIN
        return round(PLOT_MARGIN + inner * ((value - low) / (high - low) if high > low else 0.5), 1)

    index = {row.label: number for number, row in enumerate(comparison.rows)}
    base = comparison.rows[index[comparison.baseline]].evaluation.metrics[comparison.metric].value
    return [
        {
            "model": index[test.label],
            "difference": test.difference.model_dump(),
            "p": test.p_value,
            "p_holm": test.p_holm,
            "detectable": test.detectable,
            "detectable_share": test.detectable / base if test.detectable is not None and base else None,
            "verdict": verdict(test),
            "low": place(test.difference.low),
            "at": place(test.difference.value),
            "high": place(test.difference.high),
            "zero": place(0.0),
        }
        for test in chosen
    ]


def tested(comparison: Comparison) -> str:
    """How the tests were made, and for which models they say nothing of other seeds."""
    said = f"The test: {comparison.method}, p adjusted for the number of models (Holm)."
    if single := comparison.one_seed:
        said += f" Trained with one seed alone: {', '.join(single)}; p says nothing of their other trainings."
    return said


def detectable(comparison: Comparison) -> str:
    """What a comparison of this one model will be able to find, in a sentence; empty where that isn't known."""
    found = comparison.rows[0].evaluation.detectable
    shares = [(text.percent(one.share), one.correlation) for one in found if one.share is not None]
    if len(comparison.rows) > 1 or not shares:
        return ""
    said = " and ".join(f"{share} where the answers of the two correlate by {r:g}" for share, r in shares)
    return (
        f"A comparison with another model on these requests finds changes of {text.metric_name(found[0].metric)} four "
        f"times in five from {said}: 0.5 is usual for unlike models, 0.8 for variants of one."
    )


def verdict(test: Difference) -> str:
    """What the test lets one say: better, worse or unclear."""
    if test.p_holm >= SIGNIFICANT:
        return "unclear"
    return "better" if (test.difference.value < 0) == text.lower_is_better(test.metric) else "worse"
