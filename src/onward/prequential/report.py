"""The page of a walk: one self-contained HTML file, with every number in tables and a chart along the time line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onward.evaluate import page as page_of
from onward.evaluate import report_text as text
from onward.files import atomic_file
from onward.prequential.results import PolicyResult, Prequential

REPORT = "report.html"
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    subtitle: str
    lede: str
    facts: list[dict[str, str]]
    scopes: list[tuple[str, str]]
    protocol: list[dict[str, str]]
    result: Prequential


def write_page(result: Prequential, folder: Path) -> Path:
    """Write the page into a walk's folder. Raises OutputError where that can't be."""
    page = _page(result)
    policies = [
        {
            "name": one.policy,
            "values": [step.ndcg.model_dump() for step in one.steps],
            "made": [step.made for step in one.steps],
        }
        for one in result.policies
    ]
    data = {"days": [text.day(period.start) for period in result.periods], "policies": policies}
    html = page_of.render("onward.prequential", "prequential.html.j2", ("prequential.js",), page, data)
    with atomic_file(folder / REPORT, overwrite=True) as new:
        new.write_text(html, encoding="utf-8")
    return folder / REPORT


def sentences(result: Prequential) -> list[str]:
    """What a person should know first, for the page and for the terminal."""
    said = [_compared(result, one) for one in result.policies if one.policy != result.reference]
    if result.delays:
        one = result.delays[0]
        change = "" if one.relative is None else f" ({_change(one.relative.value)})"
        real = "" if one.p_value < SIGNIFICANT else ", which may be chance"
        span = f"{one.days:.1f} days" if one.days >= 1 else text.duration(one.days * 86_400)
        said.append(
            f"A delay of {span} changes NDCG@10 by "
            f"{text.fixed(one.difference.value)}{change}{real} (p {text.p_value(one.p_value)})."
        )
    return said


def _compared(result: Prequential, one: PolicyResult) -> str:
    scope, cost = one.overall, one.share_of_processor_seconds
    assert scope.p_holm is not None
    assert scope.difference is not None
    said = f"is not told apart from '{result.reference}' in NDCG@10"
    if scope.p_holm < SIGNIFICANT:
        size = "" if scope.relative is None else f" by {abs(scope.relative.value):.1%} of its NDCG@10"
        said = f"is {'worse' if scope.difference.value < 0 else 'better'} than '{result.reference}'{size}"
    paid = "" if cost is None else f", for {text.percent(cost)} of its processor time"
    return f"'{one.policy}' {said}{paid} (p {text.p_value(scope.p_holm)})."


def _change(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−")


def _page(result: Prequential) -> Page:
    requests = sum(period.requests for period in result.periods)
    returning = sum(period.returning for period in result.periods)
    first, last = result.periods[0], result.periods[-1]
    days = (last.end - first.start) / 86_400e6
    scopes = [("returning", "Returning users: an event before the period"), ("new", "New users: none before it")]
    facts = [
        ("Periods", f"{len(result.periods)}", f"of {days / len(result.periods):.1f} days on average"),
        ("Predicted", f"{requests:,}", "requests"),
        ("Returning", text.percent(returning / requests), "of them by users known before the period"),
        ("Known at first", f"{first.training_events:,}", "events"),
        ("Known in the end", f"{last.training_events:,}", "events"),
        ("First training", text.duration(result.first.seconds), "shared by all policies"),
    ]
    return Page(
        title=f"Refit policies of {result.model}",
        subtitle=f"{text.day(first.start)} to {text.day(last.end)}, the {result.part} part of its run",
        lede=" ".join(sentences(result)),
        facts=[{"label": label, "value": value, "note": note} for label, value, note in facts],
        scopes=[(scope, title) for scope, title in scopes if getattr(result.policies[0], scope) is not None],
        protocol=[{"name": name, "value": value, "note": note} for name, value, note in _protocol(result)],
        result=result,
    )


def _protocol(result: Prequential) -> list[tuple[str, str, str]]:
    every = "ten of equal numbers of events" if result.every is None else result.every
    return [
        ("period", every, "from one to the next, models may be made anew"),
        ("training", "all events before the period", "settings and epochs are those of the run, from before the walk"),
        ("history", "up to the request", "what the user did strictly earlier in time, in the period too"),
        ("candidates", "items that the model was trained on", "a target that it never saw is a miss"),
        ("seen items", f"{result.seen}d", "whether items of the history may be recommended again"),
        ("request time", result.request_time, "what models are told of when the answer is wanted"),
        ("ties", "expectation over a random order", ""),
        ("intervals", f"95%, users resampled, seed {result.seed}", ""),
        ("dataset", result.dataset[:12], "content hash"),
        ("weights", result.weights[:12], "of the run whose settings these are"),
    ]
