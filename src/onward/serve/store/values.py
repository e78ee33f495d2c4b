"""The values that go into the event store and come out of it.

Times are int64 microseconds UTC. Users, items and actions have integer keys of the store's own, 1 and up, never a
model's indices; 0 is nobody and nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.sequences import Ints

Status = Literal["stored", "duplicate", "conflict", "rejected"]
Role = Literal["read", "write", "admin"]

FUTURE_LIMIT = 5 * 60 * 1_000_000
"""Microseconds that an event's time may be ahead of the server's clock; beyond, the event is rejected."""
ID_DAYS = 30
"""Days that an event's id stays unique at least, from when it was received, even when retention removed the event."""
MAX_ID_BYTES = 1_024
"""Bytes (UTF-8) of the longest id of an event, user or item, and of the longest name of an action, group or feature."""
MAX_FEATURES_BYTES = 65_536
"""Bytes (UTF-8) of all features of an event, as JSON."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a client reports.

    Attributes:
        id: chosen by the client; the same id again is the same event, counted once.
        user, item: ids, text.
        time: microseconds UTC, the client's; None: when the server receives it.
        action: view, cart, buy...
        value: rating, quantity, seconds...; finite.
        request_id: of the recommendation that the event answers: such an event is a click.
        group: events of one user with one group happened together.
        features: name -> JSON value, what else is known of the event.
    """

    id: str
    user: str
    item: str
    time: int | None = None
    action: str | None = None
    value: float | None = None
    request_id: str | None = None
    group: str | None = None
    features: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event.

    Attributes:
        id: the event's.
        status: `stored`; `duplicate`: the id and the body were there already; `conflict`: the id was there with
            another body, and nothing changed; `rejected`: it can't be stored, see `reason`.
        seq: the event's place in the order of commits; None where nothing is stored any more, or never was.
        reason: of a conflict or a rejection, for people.
    """

    id: str
    status: Status
    seq: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the store holds it: what the client gave, with `seq`, and `received` by the server's clock."""

    seq: int
    id: str
    user: str
    item: str
    time: int
    received: int
    action: str | None
    value: float | None
    request_id: str | None
    group: str | None
    features: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """One user's events, oldest first by (time, seq); arrays of one length.

    Attributes:
        items: int64, the store's item keys.
        times: int64, microseconds UTC.
        actions: int64, keys of `action_names`; 0 where the event has no action.
        values: float32, NaN where the event has no value.
        seqs: int64.
    """

    items: Ints
    times: Ints
    actions: Ints
    values: NDArray[np.float32]
    seqs: Ints

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Impression:
    """One list that was answered.

    Attributes:
        request_id: unique.
        user: None for an explicit history of nobody.
        items: ids, best first; the place in the list is the position.
        policy: what chose the list, such as `top` or `explore`.
        propensities: of each item under a randomised policy; None where the policy is not random.
        model: name of the model on the server's shelf.
        time: microseconds UTC.
    """

    request_id: str
    user: str | None
    items: tuple[str, ...]
    policy: str
    propensities: tuple[float, ...] | None
    model: str
    time: int


@dataclass(frozen=True, slots=True)
class ClickThrough:
    """Of one model: lists logged, lists of those reported as shown, and clicks that count."""

    model: str
    lists: int
    shown: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Clicks:
    """Click-through of every model, and the clicks that belong to no logged list of that user, item and window."""

    models: tuple[ClickThrough, ...]
    unattributed: int


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """An item added or changed at run time.

    Attributes:
        id: the item's.
        features: name -> JSON value.
        deleted: it may not be recommended any more.
    """

    id: str
    features: dict[str, JsonValue] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which model serves.

    Attributes:
        active: name on the server's shelf; None before the first.
        previous: what `rollback` goes back to.
        target: what is about to be switched to: workers load and warm it, and announce that.
        generation: rises by one with every switch, and is what an answer's worker must have loaded.
        reason: why the last target was withdrawn; None after the next proposal.
    """

    active: str | None = None
    previous: str | None = None
    target: str | None = None
    generation: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """What one worker last announced.

    Attributes:
        id: unique among the workers of the store.
        pid: its process.
        generation: of the deployment that it answers with.
        target: name of the target that it has loaded and warmed, if any.
        state: `starting`, `ready`, `draining`...
        time: of the announcement, microseconds UTC.
    """

    id: str
    pid: int
    generation: int
    target: str | None
    state: str
    time: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as the store keeps it, never the secret itself.

    Attributes:
        id: shown in lists, not secret.
        name: what the key is for.
        role: what it may do.
        hash: of the secret.
        created, revoked: microseconds UTC; `revoked` None while the key is good.
    """

    id: str
    name: str
    role: Role
    hash: bytes
    created: int
    revoked: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """A backup or an export that was made of the store: where, when, and of which kind."""

    kind: Literal["backup", "export"]
    path: str
    time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What forgetting a user removed, and what is left for the operator.

    Attributes:
        user: id.
        time: microseconds UTC; events of this user up to then are rejected from now on.
        removed: table -> rows that were removed.
        overwritten: whether the freed places of the database and its log were overwritten.
        details: how, and what could not be overwritten.
        bundles: models that hold rows of training users (user-kNN, ALS, links between users): train them again without
            the user if their data had the user.
        copies: backups and exports made while the user's data was in the store: remove the user there too.
    """

    user: str
    time: int
    removed: dict[str, int]
    overwritten: bool
    details: tuple[str, ...]
    bundles: tuple[str, ...]
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True)
class Retained:
    """What one pass of retention removed."""

    events: int
    impressions: int
    users: int
    ids: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts and sizes.

    Attributes:
        backend: `sqlite` or `postgresql`.
        schema: version of the tables.
        oldest, newest: time of the first and last event, microseconds UTC; None without events.
        last_seq: the highest `seq` given.
        attributed, unattributed: clicks that belong to a logged list, and those that don't.
        impressions_lost: lists that were to be logged and were not, because the buffer was full.
        forgotten: users that were forgotten.
        bytes: of the database; `log_bytes` of its write-ahead log, None where that can't be told.
    """

    backend: str
    schema: int
    events: int
    users: int
    items: int
    oldest: int | None
    newest: int | None
    last_seq: int
    impressions: int
    shown: int
    attributed: int
    unattributed: int
    impressions_lost: int
    forgotten: int
    bytes: int
    log_bytes: int | None
