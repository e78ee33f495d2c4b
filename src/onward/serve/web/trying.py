"""Try it: a list, the history that it comes from, and what a click changed."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from onward.errors import ConfigError, ExpressionError
from onward.serve.problems import ApiError
from onward.serve.replies import HistoryEvent
from onward.serve.requests import Ranked, Reason, Request, Rules
from onward.serve.service import CLICK, Recommended, Service
from onward.serve.store import Event
from onward.serve.web.items import Line, example_rule, line
from onward.serve.web.moves import Move, gone, moves, summary
from onward.serve.web.recent import Recent
from onward.serve.web.session import Viewer

LENGTHS = (5, 10, 20)
SHOWN_EVENTS = 12
"""Newest events of a history that are listed."""
COUNTED_EVENTS = 1_000
"""Events of a history that are counted, at most."""
BECAUSE = 2
"""Reasons that are shown with an item."""
WORTH_TELLING = 0.1
"""A second reason is told if its effect is that share of the first one's, at least."""
LONGEST_ID = 256
STAGES = {
    "queue": "waiting for others",
    "history": "reading the history",
    "model": "the model",
    "rank": "rules and ranking",
    "reasons": "finding the reasons",
}


@dataclass(frozen=True)
class Wanted:
    """What the forms of the page ask for.

    Attributes:
        user: whose list; None for the anonymous visitor.
        k: length of the list.
        where: rule over item features; may be empty.
        again: whether items of the history may come again.
    """

    user: str | None
    k: int
    where: str
    again: bool

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Wanted:
        """From a query or a form; what makes no sense becomes the default."""
        k = values.get("k", "10")
        return cls(
            user=values.get("user", "").strip()[:LONGEST_ID] or None,
            k=int(k) if k in map(str, LENGTHS) else 10,
            where=values.get("where", "").strip(),
            again=values.get("again") == "1",
        )


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


@dataclass(frozen=True)
class Clicked:
    """What a click did."""

    title: str
    summary: str
    stored_seconds: float
    gone: Sequence[str]


@dataclass(frozen=True)
class ShownEvent:
    """One event of the timeline."""

    item: str
    title: str
    known: bool
    action: str | None
    time: int


@dataclass(frozen=True)
class Trouble:
    """Why there is no list, and where the rule can't be read."""

    what: str
    pointer: str = ""


@dataclass(frozen=True)
class TryView:
    """Everything that the page shows."""

    user: str | None
    k: int
    where: str
    again: bool
    example: str
    may_click: bool
    recent: Sequence[str]
    events: Sequence[ShownEvent]
    total: str
    earlier: str
    whole: str
    now: int
    answer: ShownAnswer | None = None
    error: Trouble | None = None
    clicked: Clicked | None = None
    lengths: Sequence[int] = field(default=LENGTHS)


async def click(service: Service, viewer: Viewer, form: Mapping[str, str]) -> tuple[Event, float]:
    """Store the click of a form; returns it with the seconds until it was durable. Raises ApiError when it can't be."""
    if not viewer.may_write:
        raise ApiError(403, "role", "this key may read, and not send events: sign in with a write key to click")
    user, item = Wanted.parse(form).user or viewer.visitor_user, form.get("item", "")
    if not 0 < len(item) <= LONGEST_ID:
        raise ApiError(422, "invalid", "no item was chosen")
    request_id = form.get("request_id", "")[:LONGEST_ID] or None
    event = Event(f"page-{secrets.token_hex(12)}", user, item, action=CLICK, request_id=request_id)
    started = time.perf_counter()
    (outcome,) = await service.add_events([event])
    if outcome.status != "stored":
        raise ApiError(422, "rejected", f"the click was not taken: {outcome.reason or outcome.status}")
    return event, time.perf_counter() - started


async def build(
    service: Service,
    recent: Recent,
    viewer: Viewer,
    wanted: Wanted,
    clicked: tuple[Event, float] | None = None,
    before: Sequence[str] = (),
) -> TryView:
    """The list and the history of now.

    Args:
        clicked: what was clicked just now, with the seconds until it was stored.
        before: ids of the list that was shown before the click.
    """
    user = wanted.user or viewer.visitor_user
    made, error = await _list(service, user, wanted)
    now = time.time_ns() // 1000
    if made is not None:
        shown = [ranked.item for ranked in made.answer.items]
        if shown and viewer.may_write:
            await asyncio.to_thread(service.store.record_shown, made.request_id, user, shown)
    return await asyncio.to_thread(_view, service, recent, viewer, wanted, made, error, clicked, before, now)


async def _list(service: Service, user: str, wanted: Wanted) -> tuple[Recommended | None, Trouble | None]:
    try:
        rules = Rules.parse({"where": wanted.where or None, "seen": "include" if wanted.again else None})
        return await service.recommend(Request(user, None, wanted.k, rules=rules, reasons=True)), None
    except ConfigError as error:
        pointer = f"{wanted.where}\n{'^':>{error.position}}" if isinstance(error, ExpressionError) else ""
        said = f"{error.message[:1].upper()}{error.message[1:]}"
        return None, Trouble(f"{said}; {error.hint}" if error.hint else said, pointer)


def _view(
    service: Service,
    recent: Recent,
    viewer: Viewer,
    wanted: Wanted,
    made: Recommended | None,
    error: Trouble | None,
    clicked: tuple[Event, float] | None,
    before: Sequence[str],
    now: int,
) -> TryView:
    user = wanted.user or viewer.visitor_user
    history = service.history(user, COUNTED_EVENTS).events
    titles: dict[str, Line] = {}

    def title(item: str) -> Line:
        return titles.setdefault(item, line(service, item))

    moved = moves(before, [ranked.item for ranked in made.answer.items]) if made and clicked else None
    return TryView(
        **vars(wanted),
        example=example_rule(service),
        may_click=viewer.may_write,
        recent=recent.users(),
        events=[_event(one, title(one.item)) for one in reversed(history[-SHOWN_EVENTS:])],
        total=_total(len(history)),
        earlier=_earlier(len(history)),
        whole=f"/users?id={quote(user, safe='')}",
        now=now,
        answer=_answer(made, moved, title) if made else None,
        error=error,
        clicked=_clicked(clicked, moved or [], made, before, title) if clicked else None,
    )


def _answer(made: Recommended, moved: Sequence[Move] | None, title: Any) -> ShownAnswer:
    answer = made.answer
    scores = [ranked.score for ranked in answer.items if not ranked.fallback]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    rows = [
        _row(ranked, title(ranked.item), low, high, moved[place] if moved else None)
        for place, ranked in enumerate(answer.items)
    ]
    stages = [(STAGES[name], answer.stages[name]) for name in STAGES if name in answer.stages]
    return ShownAnswer(
        request_id=made.request_id,
        rows=rows,
        ids=json.dumps([ranked.item for ranked in answer.items]),
        fallback=_fallback(made),
        basis=_basis(answer.history_events, answer.unknown_items, answer.model),
        all_fallback=all(row.fallback for row in rows),
        list_seconds=sum(seconds for name, seconds in answer.stages.items() if name != "reasons"),
        stages=stages,
    )


def _row(ranked: Ranked, shown: Line, low: float, high: float, move: Move | None) -> Row:
    share = None if ranked.fallback or high <= low else max(0.04, (ranked.score - low) / (high - low))
    because = _because(ranked.reasons[:BECAUSE])
    score = "" if ranked.fallback else f"{ranked.score:.3g}".replace("-", "−")
    return Row(ranked.item, ranked.title, shown.features, score, share, ranked.pinned, ranked.fallback, because, move)


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


def _fallback(made: Recommended) -> str | None:
    answer = made.answer
    if answer.fallback is None:
        return None
    what = {
        "recent": "what had most events here lately",
        "popular": "what was most popular in training",
    }[answer.fallback]
    if not answer.history_events:
        return f"The model was given no event, so this is {what}."
    filled = sum(ranked.fallback for ranked in answer.items)
    return f"{filled} of {len(answer.items)} places are filled with {what}: the model had no more to give."


def _basis(events: int, unknown: int, model: str) -> str:
    if not events and not unknown:
        return ""
    said = f"By {model}, from {events:,} {'event' if events == 1 else 'events'} of the history."
    return f"{said} It knows nothing of {unknown:,} more." if unknown else said


def _clicked(
    clicked: tuple[Event, float], moved: Sequence[Move], made: Recommended | None, before: Sequence[str], title: Any
) -> Clicked:
    event, seconds = clicked
    after = [ranked.item for ranked in made.answer.items] if made else []
    left = [title(item).title for item in gone(before, after) if item != event.item]
    return Clicked(title(event.item).title, summary(moved), seconds, left)


def _event(event: HistoryEvent, shown: Line) -> ShownEvent:
    return ShownEvent(event.item, shown.title, shown.known, event.action, event.time)


def _total(events: int) -> str:
    if not events:
        return ""
    return f"{COUNTED_EVENTS:,} events and more" if events >= COUNTED_EVENTS else f"{events:,} event{'s'[: events > 1]}"


def _earlier(events: int) -> str:
    more = events - SHOWN_EVENTS
    if more <= 0:
        return ""
    return "many earlier ones" if events >= COUNTED_EVENTS else f"{more:,} earlier"


def shown_before(text: str) -> list[str]:
    """Ids of the list that a form says was shown; anything else is no list."""
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [item for item in found[: max(LENGTHS)] if isinstance(item, str)] if isinstance(found, list) else []
