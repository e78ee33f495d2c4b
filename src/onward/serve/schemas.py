"""What goes over the wire: the bodies that the API takes, and those that it answers.

Bodies are strict: unknown fields are errors. Times are microseconds UTC, or ISO 8601 with a zone; answers carry
microseconds. An anonymous session is a user whose id begins with `session:`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints

from onward.serve.requests import Rules

SESSION = "session:"
"""What the id of an anonymous session begins with, as a user."""
LAST_INSTANT = 253_402_300_799_999_999
"""End of the year 9999, microseconds UTC."""
MAX_HISTORY = 1_000
"""Events of a history that comes with a request, at most."""
MAX_FEATURES = 100
"""Features of an item, at most."""


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
            "examples": [{"id": "e-1042", "user": "42", "item": "boots-42", "action": "view"}],
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


class EventsIn(Wire):
    """Several events."""

    events: list[EventIn] = Field(min_length=1, max_length=1_000)
    """In the order in which they happened, where they carry no times."""


class OutcomeOut(Wire):
    """What became of one event."""

    id: str
    """The event's id."""
    status: Literal["stored", "duplicate", "conflict", "rejected"]
    """`stored`: durable now. `duplicate`: it was already, the same. `conflict`: another event has this id.
    `rejected`: it can't be taken."""
    reason: str | None = None
    """Why, for `conflict` and `rejected`."""


class EventsOut(Wire):
    """What became of each event, in the order in which they were sent."""

    results: list[OutcomeOut]
    """One an event."""


class HistoryItemIn(Wire):
    """One event of a history that comes with the request."""

    item: Id
    """Which item."""
    time: Time | None = None
    """When."""
    action: Id | None = None
    """View, cart, buy..."""


class RecommendationIn(Wire):
    """One list wanted: for a user, an anonymous session, or a history."""

    model_config = ConfigDict(
        json_schema_extra={
            **_one_of("user", "session", "history"),
            "examples": [
                {"user": "42", "k": 10},
                {"session": "f3a9", "k": 5, "rules": {"where": "price < 20", "deny": ["boots-42"]}, "reasons": True},
                {"history": ["tent-2p", "socks-grey"]},
            ],
        }
    )

    user: Id | None = None
    """Whose history, from the store; unknown users get popular items."""
    session: Id | None = None
    """The anonymous session whose history it is."""
    history: list[Id | HistoryItemIn] | None = Field(None, max_length=MAX_HISTORY)
    """Oldest first: ids, or objects with time and action."""
    k: int = Field(10, ge=1, le=1_000, strict=True)
    """Length of the list."""
    at: Time | None = None
    """As of when; now by default. Stored events at or after it are left out."""
    rules: Rules | None = None
    """Further rules, beside the server's own."""
    reasons: bool = Field(False, strict=True)
    """Whether to say which events moved each item's score most."""


class RecommendationsIn(Wire):
    """Several lists wanted."""

    requests: list[RecommendationIn] = Field(min_length=1, max_length=1_000)
    """One a list."""


class ReasonOut(Wire):
    """An event of the history that moved an item's score."""

    item: str
    """The event's item."""
    title: str
    """Its title, or its id."""
    time: int | None
    """Of the event, microseconds UTC; null where it isn't known."""
    effect: float
    """The item's score with the event less that without it."""


class RankedOut(Wire):
    """One item of a list."""

    item: str
    """Its id."""
    title: str
    """Its title, or its id."""
    score: float
    """What the model gave it; comparable within a list only."""
    position: int
    """From 1."""
    pinned: bool
    """A rule put it here."""
    fallback: bool
    """Popularity put it here, not the model."""
    reasons: list[ReasonOut] = []
    """What moved its score most, where asked for."""


class RecommendationOut(Wire):
    """One list."""

    request_id: str
    """Names this list in `shown`, `clicks` and events."""
    model: str
    """Which model answered."""
    generation: int
    """Of the deployment; it grows with every switch of models."""
    items: list[RankedOut]
    """Best first."""
    fallback: Literal["recent", "popular"] | None
    """What filled the list, or a part of it, in place of the model."""
    history_events: int
    """Events that the model was given."""
    unknown_items: int
    """Events of the history left out because the model knows no such item."""


class RecommendationsOut(Wire):
    """Several lists, in the order in which they were asked for."""

    results: list[RecommendationOut]
    """One a request."""


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


class ItemsOut(Wire):
    """What was done to the catalog."""

    changed: int
    """Items that were added, changed or deleted."""


class ItemOut(Wire):
    """An item of the catalog."""

    id: str
    """Its id."""
    title: str
    """Its title, or its id."""
    features: dict[str, JsonValue]
    """Feature -> value."""
    deleted: bool
    """Whether it was taken out of the catalog: it is in no list then."""


class SimilarItem(Wire):
    """An item that is like another."""

    item: str
    """Its id."""
    title: str
    """Its title, or its id."""
    score: float
    """How like; comparable within a list only."""
    position: int
    """From 1."""


class SimilarOut(Wire):
    """Items that are like one item."""

    item: str
    """The item."""
    items: list[SimilarItem]
    """Most alike first."""


class HistoryEvent(Wire):
    """One event of a user's history."""

    item: str
    """Its item."""
    time: int
    """Microseconds UTC."""
    action: str | None
    """View, cart, buy..."""
    value: float | None
    """Rating, quantity, seconds..."""


class HistoryOut(Wire):
    """A user's history."""

    user: str
    """Whose."""
    events: list[HistoryEvent]
    """Oldest first; the newest of them where there are more than asked for."""


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


class AcceptedOut(Wire):
    """Taken."""

    accepted: Literal[True] = True
    """Always true."""


class CopyOut(Wire):
    """A copy of the store's data that was made."""

    kind: Literal["backup", "export"]
    """Which kind."""
    path: str
    """Where it was written."""
    time: int
    """When, microseconds UTC."""


class ReceiptOut(Wire):
    """What forgetting a user removed, and what is left for the operator."""

    model_config = ConfigDict(from_attributes=True)

    user: str
    """Whom."""
    time: int
    """Microseconds UTC; events of this user up to then are rejected from now on."""
    removed: dict[str, int]
    """Table -> rows that were removed."""
    overwritten: bool
    """Whether the freed places of the database and its log were overwritten."""
    details: list[str]
    """How, and what could not be overwritten."""
    bundles: list[str]
    """Models whose weights hold rows of training users: train them again without the user."""
    copies: list[CopyOut]
    """Backups and exports made while the data was in the store: remove the user there too."""


class WorkerOut(Wire):
    """A worker process."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    """Unique among the workers of the store."""
    generation: int
    """Of the deployment that it answers with."""
    state: str
    """`loading`, `ready`, `draining`."""


class DeploymentOut(Wire):
    """Which model serves."""

    model_config = ConfigDict(from_attributes=True)

    active: str | None
    """Its name."""
    previous: str | None
    """The one before, which `rollback` goes back to."""
    target: str | None
    """The one that workers are loading."""
    generation: int
    """Grows with every switch."""
    reason: str | None
    """Why the last target was refused."""


class ModelsOut(Wire):
    """The models of the server."""

    models: list[str]
    """Names that can be activated."""
    deployment: DeploymentOut
    """Which of them serves."""
    workers: list[WorkerOut]
    """Workers that are alive."""


class ReceivedOut(Wire):
    """A model was uploaded; it serves once it is activated."""

    name: str
    """Its name."""


class HealthOut(Wire):
    """All is well."""

    status: Literal["ok", "ready"]
    """`ok`: the process lives. `ready`: it answers."""
    model: str | None = None
    """The model that serves."""
    generation: int | None = None
    """Of the deployment."""
