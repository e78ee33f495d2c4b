"""Try it: a list, the history that it comes from, and what a click changed."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from onward.errors import ConfigError, ExpressionError
from onward.serve.api.problems import ApiError
from onward.serve.lists.requests import Request, Rules
from onward.serve.service import CLICK, Recommended, Service
from onward.serve.store.protocol import Event
from onward.serve.web.answers import ShownAnswer, shown_answer
from onward.serve.web.items import Line, example_rule, line
from onward.serve.web.moves import gone, moves, summary
from onward.serve.web.recent import Recent
from onward.serve.web.session import Viewer

LENGTHS = (5, 10, 20)
SHOWN_EVENTS = 12
"""Newest events of a history that are listed."""
COUNTED_EVENTS = 1_000
"""Events of a history that are counted, at most."""
LONGEST_ID = 256


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
class Click:
    """A click that is stored.

    Attributes:
        item: id.
        seconds: until it was durable.
        before: ids of the list that was clicked on.
    """

    item: str
    seconds: float
    before: Sequence[str]


@dataclass(frozen=True)
class Clicked:
    """What a click did, in words."""

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
    answer: ShownAnswer | None
    error: Trouble | None
    clicked: Clicked | None
    lengths: Sequence[int] = LENGTHS


async def click(service: Service, viewer: Viewer, form: Mapping[str, str]) -> Click:
    """Store the click of a form; returns when it is durable. Raises ApiError when it isn't taken."""
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
    return Click(item, time.perf_counter() - started, shown_before(form.get("before", "")))


async def build(
    service: Service, recent: Recent, viewer: Viewer, wanted: Wanted, click: Click | None = None
) -> TryView:
    """The list and the history of now, after a click if there was one."""
    user = wanted.user or viewer.visitor_user
    made: Recommended | Trouble
    try:
        rules = Rules.parse({"where": wanted.where or None, "seen": "include" if wanted.again else None})
        made = await service.recommend(Request(user, None, wanted.k, rules=rules, reasons=True))
    except ConfigError as error:
        made = _trouble(error, wanted.where)
    view = asyncio.to_thread(_view, service, recent, viewer, wanted, made, click)
    if isinstance(made, Trouble) or not made.answer.items or not viewer.may_write:
        return await view
    shown = [ranked.item for ranked in made.answer.items]
    return (await asyncio.gather(view, asyncio.to_thread(service.store.record_shown, made.request_id, user, shown)))[0]


def _trouble(error: ConfigError, where: str) -> Trouble:
    pointer = f"{where}\n{'^':>{error.position}}" if isinstance(error, ExpressionError) else ""
    said = f"{error.message[:1].upper()}{error.message[1:]}"
    return Trouble(f"{said}; {error.hint}" if error.hint else said, pointer)


def _view(
    service: Service,
    recent: Recent,
    viewer: Viewer,
    wanted: Wanted,
    made: Recommended | Trouble,
    click: Click | None,
) -> TryView:
    user = wanted.user or viewer.visitor_user
    history = service.history(user, COUNTED_EVENTS).events

    @cache
    def describe(item: str) -> Line:
        return line(service, item)

    answer = made if isinstance(made, Recommended) else None
    after = [ranked.item for ranked in answer.answer.items] if answer else []
    moved = moves(click.before, after) if click else None
    left = [item for item in gone(click.before, after) if item != click.item] if click else []
    return TryView(
        **vars(wanted),
        example=example_rule(service),
        may_click=viewer.may_write,
        recent=recent.users(),
        events=[_event(one.time, one.action, describe(one.item)) for one in reversed(history[-SHOWN_EVENTS:])],
        total=_total(len(history)),
        earlier=_earlier(len(history)),
        whole=f"/users?id={quote(user, safe='')}",
        now=time.time_ns() // 1000,
        answer=shown_answer(answer, moved, describe) if answer else None,
        error=made if isinstance(made, Trouble) else None,
        clicked=Clicked(
            describe(click.item).title, summary(moved or []), click.seconds, [describe(item).title for item in left]
        )
        if click
        else None,
    )


def _event(when: int, action: str | None, shown: Line) -> ShownEvent:
    return ShownEvent(shown.item, shown.title, shown.known, action, when)


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
