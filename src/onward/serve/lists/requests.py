"""What the engine is asked and what it answers: plain values, without HTTP and without arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, JsonValue

from onward.config import Config

FallbackKind = Literal["recent", "popular"]
RankBy = Literal["score", "interest", "mix"]


MANY_IDS = 10_000
"""Ids in one rule, at most."""
MANY_PINS = 100


class Rules(Config):
    """What may be in a list and what stands first. The server's own rules and a request's both hold.

    Where both say something, `allow`, `deny`, `where` and `at_most` each narrow the list further, boosts add up, and
    what the request says of seen items and pins replaces what the server says. Ids that no item has are passed over.
    """

    seen: Literal["exclude", "include"] | None = None
    """Whether items of the user's history may come again; by default what the bundle says."""
    seen_days: float | None = Field(None, gt=0, le=36_500, strict=True)
    """Only events of the last so many days make an item seen; the whole history by default."""
    seen_actions: tuple[str, ...] = Field((), max_length=50)
    """Only events of these actions make an item seen; all by default."""
    allow: tuple[str, ...] | None = Field(None, max_length=MANY_IDS)
    """Ids of the only items that may be in a list."""
    deny: tuple[str, ...] = Field((), max_length=MANY_IDS)
    """Ids of items that may not."""
    where: str | None = Field(None, max_length=2_000)
    """Expression over item features that each item must meet, such as `genre = "Comedy" and price < 20`."""
    at_most: dict[str, Annotated[int, Field(ge=1, strict=True)]] = Field({}, max_length=10)
    """Feature -> items of one value of it in a list, at most, such as `{ genre = 3 }`. An item of several values counts
    for each of them, one of none for none."""
    pinned: tuple[str, ...] = Field((), max_length=MANY_PINS)
    """Ids of items that come first, in this order, seen or not; `deny`, `allow` and `where` hold for them too."""
    boost: dict[str, Annotated[float, Field(ge=-1_000, le=1_000, strict=True)]] = Field({}, max_length=MANY_IDS)
    """Item id -> what is added to its score, in standard deviations of the request's scores; below 0 lowers it."""


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One event of a history that is given with the request.

    Attributes:
        item: id.
        time: microseconds UTC; None where it isn't known.
        action: view, cart, buy...
        value: rating, quantity, seconds...
        group: its basket.
        features: name -> value, what else is known of it.
    """

    item: str
    time: int | None = None
    action: str | None = None
    value: float | None = None
    group: str | None = None
    features: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """One list wanted.

    Attributes:
        user: whose history to read from the store; None with a history, or for somebody of whom nothing is known.
        history: oldest first, in place of the store's.
        k: length of the list.
        at: as of when, microseconds UTC: stored events at or after it are left out. None: now.
        rules: further rules, beside the server's.
        reasons: whether to say which events moved each item's score most.
        context: feature -> value, of the user and of the event to come, for a model that reads them.
        rank_by, interest_weight: in place of the server's (`RankingConfig`).
    """

    user: str | None = None
    history: tuple[HistoryItem, ...] | None = None
    k: int = 10
    at: int | None = None
    rules: Rules | None = None
    reasons: bool = False
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    rank_by: RankBy | None = None
    interest_weight: float | None = None


class Reason(NamedTuple):
    """How much one event of the history moves an item's score, found by leaving the event out.

    Attributes:
        item: id of the event's item.
        title: its title, or its id.
        time: of the event, microseconds UTC; None where it isn't known.
        effect: the item's score with the event less that without it; below 0 where the event lowers it.
    """

    item: str
    title: str
    time: int | None
    effect: float


class Ranked(NamedTuple):
    """One item of a list.

    Attributes:
        item: id.
        title: title, or the id.
        score: what it is ranked by; comparable within a list only. 0.0 for an item that no model scored.
        position: from 1.
        reasons: what moved its score most, largest effect first; empty unless asked for.
        pinned: a rule put it here.
        fallback: popularity put it here, not the model.
        interest: expected, in [0, 1]; None where the list isn't ranked by it, or it isn't known.
    """

    item: str
    title: str
    score: float
    position: int
    reasons: tuple[Reason, ...] = ()
    pinned: bool = False
    fallback: bool = False
    interest: float | None = None


@dataclass(slots=True)
class Answer:
    """One list.

    Attributes:
        items: best first; fewer than asked only where fewer pass the rules.
        model: name of the model on the server's shelf.
        generation: of the deployment that answered.
        fallback: what filled the list or a part of it in place of the model: `recent` popularity from the store, or
            `popular`, popularity in training; None where the model filled it alone.
        history_events: events that the model was given.
        unknown_items: events of the history left out because the model knows no such item.
        unknown_values: features of the events and of the request with a value that training didn't have.
        stages: stage -> seconds, of the whole batch that this answer was made in: `queue`, `history`, `model`, `rank`,
            and `reasons` where they were asked for.
    """

    items: tuple[Ranked, ...]
    model: str
    generation: int
    fallback: FallbackKind | None
    history_events: int
    unknown_items: int
    unknown_values: int
    stages: dict[str, float]
