"""A list as the page shows it: rows with scores, reasons and marks, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onward.serve.lists.requests import Answer, Ranked, Reason
from onward.serve.service import Recommended
from onward.serve.web import words
from onward.serve.web.items import Line
from onward.serve.web.moves import Move

BECAUSE = 2
"""Reasons that are shown with an item."""
WORTH_TELLING = 0.1
"""A second reason is told if its effect is that share of the first one's, at least."""
STAGES = {
    "queue": "waiting for others",
    "history": "reading the history",
    "model": "the model",
    "rank": "rules and ranking",
    "reasons": "finding the reasons",
}
FALLBACKS = {"recent": "what had most events here lately", "popular": "what was most popular in training"}


@dataclass(frozen=True)
class Because:
    """One event that moved an item's score, by how much, and in which direction."""

    word: str
    title: str
    effect: float


@dataclass(frozen=True)
class Row:
    """One item of the list as it is shown; `share` is where its score lies between the list's lowest and highest."""

    item: str
    title: str
    features: str
    score: str
    share: float | None
    pinned: bool
    fallback: bool
    because: Sequence[Because]
    move: Move | None


@dataclass(frozen=True)
class ShownAnswer:
    """A list with what is said about it. Times in seconds."""

    request_id: str
    rows: Sequence[Row]
    ids: str
    fallback: str | None
    basis: str
    all_fallback: bool
    list_seconds: float
    stages: Sequence[tuple[str, float]]


def shown_answer(made: Recommended, moved: Sequence[Move] | None, describe: Callable[[str], Line]) -> ShownAnswer:
    """The list of an answer.

    Args:
        moved: how each item came to its place; None before any click.
        describe: the line of an item.
    """
    answer = made.answer
    scores = [ranked.score for ranked in answer.items if not ranked.fallback]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    rows = [
        _row(ranked, describe(ranked.item), low, high, moved[place] if moved else None)
        for place, ranked in enumerate(answer.items)
    ]
    return ShownAnswer(
        request_id=made.request_id,
        rows=rows,
        ids=json.dumps([ranked.item for ranked in answer.items]),
        fallback=_fallback(answer),
        basis=_basis(answer.history_events, answer.unknown_items, answer.model),
        all_fallback=all(row.fallback for row in rows),
        list_seconds=sum(seconds for name, seconds in answer.stages.items() if name != "reasons"),
        stages=[(STAGES[name], answer.stages[name]) for name in STAGES if name in answer.stages],
    )


def _row(ranked: Ranked, shown: Line, low: float, high: float, move: Move | None) -> Row:
    share = None if ranked.fallback or high <= low else max(0.04, (ranked.score - low) / (high - low))
    score = "" if ranked.fallback else words.score(ranked.score)
    because = _because(ranked.reasons[:BECAUSE])
    interest = "" if ranked.interest is None else f"interest {ranked.interest:.2f}"
    facts = " · ".join(filter(None, (shown.features, interest)))
    return Row(ranked.item, ranked.title, facts, score, share, ranked.pinned, ranked.fallback, because, move)


def _because(reasons: Sequence[Reason]) -> list[Because]:
    """In words: because of this and that, despite this."""
    told: list[Because] = []
    for reason in reasons:
        word = "because of" if reason.effect > 0 else "despite"
        if told:
            if abs(reason.effect) < WORTH_TELLING * abs(told[0].effect):
                break
            word = " and" if (told[0].effect > 0) == (reason.effect > 0) else f", {word}"
        told.append(Because(word, reason.title, reason.effect))
    return told


def _fallback(answer: Answer) -> str | None:
    if answer.fallback is None:
        return None
    what = FALLBACKS[answer.fallback]
    if not answer.history_events:
        return f"The model was given no event, so this is {what}."
    filled = sum(ranked.fallback for ranked in answer.items)
    return f"{filled} of {len(answer.items)} places are filled with {what}: the model had no more to give."


def _basis(events: int, unknown: int, model: str) -> str:
    if not events and not unknown:
        return ""
    said = f"By {model}, from {events:,} {'event' if events == 1 else 'events'} of the history."
    return f"{said} It knows nothing of {unknown:,} more." if unknown else said
