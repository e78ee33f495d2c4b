"""The bodies that the API answers; `schemas` are those that it takes."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, JsonValue

from onward.serve.api.schemas import Wire


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
    """What it is ranked by; comparable within a list only."""
    position: int
    """From 1."""
    pinned: bool
    """A rule put it here."""
    fallback: bool
    """Popularity put it here, not the model."""
    interest: float | None = None
    """The interest expected in it, from 0 to 1, where the list is ranked by that."""
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
    group: str | None = None
    """Its basket."""
    features: dict[str, JsonValue] = {}
    """What else is known of it."""


class HistoryOut(Wire):
    """A user's history."""

    user: str
    """Whose."""
    events: list[HistoryEvent]
    """Oldest first; the newest of them where there are more than asked for."""


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
    """Models that hold rows of training users: train them again without the user."""
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
