"""The bodies that the API takes; `replies` are those that it answers.

Bodies are strict: unknown fields are errors. Times are microseconds UTC, or ISO 8601 with a zone; answers carry
microseconds. An anonymous session is a user whose id begins with `session:`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from onward.serve.lists.requests import RankBy, Rules

SESSION = "session:"
"""What the id of an anonymous session begins with, as a user."""
LAST_INSTANT = 253_402_300_799_999_999
"""End of the year 9999, microseconds UTC."""
MAX_HISTORY = 1_000
"""Events of a history that comes with a request, at most."""
MAX_FEATURES = 100
"""Features of an item, an event or a request, at most."""


def _iso(value: object) -> object:
    """Refuse what pydantic would read as seconds: numbers, and text that is one."""
    if isinstance(value, str) and "-" not in value[1:]:
        raise ValueError("a time is a whole number of microseconds, or ISO 8601 with a zone")
    if isinstance(value, (int, float)):
        raise ValueError("a time is a whole number of microseconds from 0 to the year 9999, or ISO 8601 with a zone")
    return value


Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id: 1 to 256 characters, no control characters."""
Time = Annotated[int, Field(strict=True, ge=0, le=LAST_INSTANT)] | Annotated[AwareDatetime, BeforeValidator(_iso)]
"""Microseconds UTC, or ISO 8601 with a zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: int | datetime | None) -> int | None:
    """A time of the wire as microseconds UTC."""
    return (time - _EPOCH) // _MICROSECOND if isinstance(time, datetime) else time


def user_of(user: str | None, session: str | None) -> str | None:
    """The store's user: the user, or the session under its prefix."""
    return user if session is None else SESSION + session


class Wire(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _one_of(*names: str) -> dict[str, Any]:
    """JSON schema: exactly one of these fields is given."""
    return {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]}


class EventIn(Wire):
    """Something that somebody did."""

    model_config = ConfigDict(
        json_schema_extra={
            **_one_of("user", "session"),
            "examples": [
                {"id": "e-1042", "user": "42", "item": "boots-42", "action": "view"},
                {"user": "42", "item": "boots-42", "action": "buy", "features": {"device": "phone", "discount": 0.2}},
            ],
        }
    )

    id: Id | None = None
    """Makes a retry safe: an event counts once, however often it is sent. Without one the server makes it up."""
    user: Id | None = None
    """Who did it."""
    session: Id | None = None
    """The anonymous session that did it, in place of a user."""
    item: Id
    """To which item."""
    time: Time | None = None
    """When; now by default. At most five minutes ahead of the server's clock."""
    action: Id | None = None
    """What was done: view, cart, buy..."""
    value: float | None = Field(None, allow_inf_nan=False, strict=True)
    """Rating, quantity, seconds..."""
    request_id: Id | None = None
    """Of the list that led to it."""
    group: Id | None = None
    """Events of one group happened together: a basket."""
    features: dict[Id, JsonValue] = Field({}, max_length=MAX_FEATURES)
    """Feature -> value: what else is known of it, for models that read it. Times are microseconds UTC, or ISO 8601."""


class EventsIn(Wire):
    """Several events."""

    events: list[EventIn] = Field(min_length=1, max_length=1_000)
    """In the order in which they happened, where they carry no times."""


class HistoryItemIn(Wire):
    """One event of a history that comes with the request."""

    item: Id
    """Which item."""
    time: Time | None = None
    """When."""
    action: Id | None = None
    """View, cart, buy..."""
    value: float | None = Field(None, allow_inf_nan=False, strict=True)
    """Rating, quantity, seconds..."""
    group: Id | None = None
    """Events of one group happened together: a basket."""
    features: dict[Id, JsonValue] = Field({}, max_length=MAX_FEATURES)
    """Feature -> value: what else is known of it, for models that read it."""


class RecommendationIn(Wire):
    """One list wanted: for a user, an anonymous session, or a history."""

    model_config = ConfigDict(
        json_schema_extra={
            **_one_of("user", "session", "history"),
            "examples": [
                {"user": "42", "k": 10},
                {"session": "f3a9", "k": 5, "rules": {"where": "price < 20", "deny": ["boots-42"]}, "reasons": True},
                {"history": ["tent-2p", "socks-grey"], "rank_by": "mix", "interest_weight": 0.3},
                {
                    "history": [
                        {"item": "tent-2p", "time": "2026-11-25T18:04:00Z", "action": "buy", "group": "order-17"},
                        {"item": "socks-grey", "time": "2026-11-25T18:04:00Z", "action": "buy", "group": "order-17"},
                        {"item": "boots-42", "time": "2026-11-26T09:30:00Z", "action": "view"},
                    ]
                },
            ],
        }
    )

    user: Id | None = None
    """Whose history, from the store; unknown users get popular items."""
    session: Id | None = None
    """The anonymous session whose history it is."""
    history: list[Id | HistoryItemIn] | None = Field(None, max_length=MAX_HISTORY)
    """Oldest first: ids, or objects with what a stored event has. It counts as the same events in the store would."""
    k: int = Field(10, ge=1, le=1_000, strict=True)
    """Length of the list."""
    at: Time | None = None
    """As of when; now by default. Stored events at or after it are left out."""
    rules: Rules | None = None
    """Further rules, beside the server's own."""
    reasons: bool = Field(False, strict=True)
    """Whether to say which events moved each item's score most."""
    context: dict[Id, JsonValue] = Field({}, max_length=MAX_FEATURES)
    """Feature -> value: what is known of the user and of this request (device, place), for a model that reads it."""
    rank_by: RankBy | None = None
    """Score, interest, or a mix of both, in place of what the server says; for a model that learned interest."""
    interest_weight: float | None = Field(None, ge=0, le=1, strict=True)
    """Share of the interest in a mix, in place of what the server says."""


class RecommendationsIn(Wire):
    """Several lists wanted."""

    requests: list[RecommendationIn] = Field(min_length=1, max_length=1_000)
    """One a list."""


class ItemIn(Wire):
    """An item to add to the catalog, or to change."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "tent-2p", "features": {"title": "Tent", "price": 129.0}}]}
    )

    id: Id
    """Its id."""
    features: dict[Id, JsonValue] = Field({}, max_length=MAX_FEATURES)
    """Feature -> value: text, a number, true or false, or a list of them. It replaces all earlier ones."""


class ItemsIn(Wire):
    """Items to add or to change."""

    items: list[ItemIn] = Field(min_length=1, max_length=1_000)
    """One an item; the last of several with one id counts."""


class ShownIn(Wire):
    """Which items of a list were really seen."""

    model_config = ConfigDict(
        json_schema_extra={
            **_one_of("user", "session"),
            "examples": [{"request_id": "9f1c02-1", "user": "42", "items": ["boots-42", "tent-2p"]}],
        }
    )

    request_id: Id
    """Of the list."""
    user: Id | None = None
    """Who saw it."""
    session: Id | None = None
    """The anonymous session that saw it, in place of a user."""
    items: list[Id] = Field(min_length=1, max_length=1_000)
    """The items that were seen."""


class ClickIn(Wire):
    """A click on an item of a list: an event with the action `click`."""

    model_config = ConfigDict(
        json_schema_extra={
            **_one_of("user", "session"),
            "examples": [{"id": "c-7", "request_id": "9f1c02-1", "user": "42", "item": "boots-42"}],
        }
    )

    id: Id | None = None
    """Makes a retry safe, as an event's does."""
    request_id: Id
    """Of the list."""
    user: Id | None = None
    """Who clicked."""
    session: Id | None = None
    """The anonymous session that clicked, in place of a user."""
    item: Id
    """On which item."""
    time: Time | None = None
    """When; now by default."""
