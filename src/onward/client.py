"""A client of a running server: events in, lists out.

::

    with onward.Client("http://127.0.0.1:8000", key="onward_...") as client:
        client.add_event(user="42", item="boots-42", action="view")
        for ranked in client.recommend(user="42", k=5).items:
            print(ranked.title)

Everything that is sent may be sent again: events carry ids, which the server counts once. So the client tries again
by itself when the server is busy, restarting or unreachable.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from onward.errors import OnwardError

EVENTS_A_REQUEST = 1_000
TRY_AGAIN = (429, 502, 503, 504)
"""Statuses that pass."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between tries: doubled each time, or what the server asks for."""

When = int | datetime | None
"""Microseconds UTC, or a datetime with a zone; None for now."""


class ClientError(OnwardError):
    """The server refused, or can't be reached.

    Attributes:
        status: of HTTP; None when no answer came.
        error_code: which error it is, as the server names it: `invalid`, `no_key`, `role`...
    """

    code = "client"

    def __init__(self, message: str, hint: str = "", status: int | None = None, error_code: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.error_code = status, error_code


@dataclass(frozen=True)
class Event:
    """Something that somebody did.

    Attributes:
        user: who did it, or an anonymous session's `session:ID`.
        item: to which item.
        time: when; now by default.
        action: view, cart, buy...
        value: rating, quantity, seconds...
        request_id: of the list that led to it.
        group: events of one group happened together.
        id: made up where it isn't given; an event with the same id counts once.
        features: name -> value, what else is known of it.
    """

    user: str
    item: str
    time: When = None
    action: str | None = None
    value: float | None = None
    request_id: str | None = None
    group: str | None = None
    id: str | None = None
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of an event: `stored`, `duplicate`, `conflict` or `rejected`, and why."""

    id: str
    status: Literal["stored", "duplicate", "conflict", "rejected"]
    reason: str | None


@dataclass(frozen=True)
class Reason:
    """An event of the history and how much it moved an item's score."""

    item: str
    title: str
    time: int | None
    effect: float


@dataclass(frozen=True)
class Ranked:
    """One item of a list."""

    item: str
    title: str
    score: float
    position: int
    pinned: bool
    fallback: bool
    reasons: tuple[Reason, ...]
    interest: float | None


@dataclass(frozen=True)
class RankedList:
    """A list, best first.

    Attributes:
        request_id: names it in `shown`, `clicked` and events.
        model: which model answered.
        generation: of the deployment.
        items: best first.
        fallback: what filled it in place of the model; None where the model did alone.
        history_events: events that the model was given.
        unknown_items: events that the model knows no item of.
    """

    request_id: str
    model: str
    generation: int
    items: tuple[Ranked, ...]
    fallback: str | None
    history_events: int
    unknown_items: int


class Client:
    """Talks to one server; may be used from several threads.

    Args:
        url: of the server.
        key: an API key; not needed for a server on this machine that has none.
        timeout: seconds that one try may take.
        retries: further tries, where trying again can help.

    Raises (all methods):
        ClientError: the server refused, or can't be reached.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", key: str | None = None, timeout: float = 10.0, retries: int = 4
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def add_event(
        self,
        user: str,
        item: str,
        *,
        time: When = None,
        action: str | None = None,
        value: float | None = None,
        request_id: str | None = None,
        id: str | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Store one event; returns when it is durable. Arguments as in `Event`."""
        event = Event(user, item, time, action, value, request_id, id=id, features=features or {})
        return self.add_events([event])[0]

    def add_events(self, events: Iterable[Event]) -> list[Outcome]:
        """Store any number of events, 1,000 a request; returns when they are durable, one outcome each, in order."""
        bodies = [_event(event) for event in events]
        outcomes: list[Outcome] = []
        for first in range(0, len(bodies), EVENTS_A_REQUEST):
            answer = self._send("POST", "/v1/events", {"events": bodies[first : first + EVENTS_A_REQUEST]})
            outcomes += [Outcome(one["id"], one["status"], one.get("reason")) for one in answer["results"]]
        return outcomes

    def recommend(
        self,
        user: str | None = None,
        *,
        session: str | None = None,
        history: Sequence[str | Mapping[str, Any]] | None = None,
        k: int = 10,
        at: When = None,
        rules: Mapping[str, Any] | None = None,
        reasons: bool = False,
        context: Mapping[str, Any] | None = None,
        rank_by: Literal["score", "interest", "mix"] | None = None,
        interest_weight: float | None = None,
    ) -> RankedList:
        """The best items for a user, an anonymous session or a history: one of the three.

        Args:
            history: oldest first: item ids, or mappings with `item` and what else a stored event has: `time`, `action`,
                `value`, `group`, `features`.
            k: length of the list.
            at: as of when; now by default.
            rules: further rules, such as `{"where": "price < 20", "deny": ["boots-42"]}`.
            reasons: whether to say which events moved each item's score most.
            context: feature -> value of the user and of the event to come, for a model that reads them.
            rank_by, interest_weight: score, interest, or a mix with that share of interest; by default what the server
                says.
        """
        given = {"user": user, "session": session, "history": None if history is None else list(history)}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        body |= {"k": k, "reasons": reasons}
        if at is not None:
            body["at"] = _time(at)
        if rules is not None:
            body["rules"] = dict(rules)
        if context is not None:
            body["context"] = dict(context)
        if rank_by is not None:
            body["rank_by"] = rank_by
        if interest_weight is not None:
            body["interest_weight"] = interest_weight
        return _list(self._send("POST", "/v1/recommendations", body))

    def recommend_many(
        self,
        users: Sequence[str],
        *,
        k: int = 10,
        at: Sequence[When] = (),
        contexts: Sequence[Mapping[str, Any]] = (),
    ) -> list[RankedList]:
        """A list for each of several users, in order; `at` is as of when and `contexts` what is known of them, one for
        each, or none for all of them."""
        requests: list[dict[str, Any]] = [{"user": user, "k": k} for user in users]
        for request, when in zip(requests, at, strict=bool(at)):
            if when is not None:
                request["at"] = _time(when)
        for request, known in zip(requests, contexts, strict=bool(contexts)):
            request["context"] = dict(known)
        body = {"requests": requests}
        return [_list(one) for one in self._send("POST", "/v1/recommendations", body)["results"]]

    def shown(self, request_id: str, user: str, items: Sequence[str]) -> None:
        """Say which items of a list were seen."""
        self._send("POST", "/v1/shown", {"request_id": request_id, "user": user, "items": list(items)})

    def clicked(self, request_id: str, user: str, item: str) -> Outcome:
        """Store a click on an item of a list."""
        body = {"id": _new_id(), "request_id": request_id, "user": user, "item": item}
        one = self._send("POST", "/v1/clicks", body)["results"][0]
        return Outcome(one["id"], one["status"], one.get("reason"))

    def history(self, user: str, limit: int = 100) -> list[dict[str, Any]]:
        """A user's newest events, oldest first: `item`, `time` (microseconds UTC), `action`, `value`."""
        events: list[dict[str, Any]] = self._send("GET", f"/v1/users/{_part(user)}/history?limit={limit}")["events"]
        return events

    def similar(self, item: str, k: int = 10) -> list[tuple[str, float]]:
        """(item, score) of the items most like one, best first."""
        answer = self._send("GET", f"/v1/items/{_part(item)}/similar?k={k}")
        return [(one["item"], one["score"]) for one in answer["items"]]

    def put_item(self, item: str, features: Mapping[str, Any]) -> None:
        """Add an item to the catalog, or change it."""
        self._send("POST", "/v1/items", {"id": item, "features": dict(features)})

    def delete_item(self, item: str) -> None:
        """Take an item out of the catalog: no list has it from now on."""
        self._send("DELETE", f"/v1/items/{_part(item)}")

    def forget(self, user: str) -> dict[str, Any]:
        """Remove everything of a user; returns the receipt."""
        return self._send("DELETE", f"/v1/users/{_part(user)}")

    def models(self) -> dict[str, Any]:
        """The models of the server, which of them serves, and the workers."""
        return self._send("GET", "/v1/models")

    def activate(self, model: str) -> dict[str, Any]:
        """Switch to another model; returns after the switch."""
        return self._send("POST", f"/v1/models/{_part(model)}/activate")

    def rollback(self) -> dict[str, Any]:
        """Go back to the model before."""
        return self._send("POST", "/v1/models/rollback")

    def ready(self) -> bool:
        """Whether the server answers requests now; asks once."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        pause = FIRST_PAUSE
        for left in range(self._retries, -1, -1):
            try:
                answer = self._http.request(method, path, json=body if body is not None or method != "POST" else {})
            except httpx.TransportError as error:
                if not left:
                    message = f"no answer from {self._http.base_url}: {type(error).__name__}"
                    raise ClientError(message, "is the server running? onward serve MODEL") from error
            else:
                if answer.is_success:
                    made: dict[str, Any] = answer.json()
                    return made
                if answer.status_code not in TRY_AGAIN or not left:
                    raise _refused(answer)
                pause = max(pause, float(answer.headers.get("retry-after", 0)))
            time.sleep(min(pause, LONGEST_PAUSE))
            pause *= 2
        raise AssertionError("the last try returned or raised")


def _event(event: Event) -> dict[str, Any]:
    body = {
        "id": event.id or _new_id(),
        "user": event.user,
        "item": event.item,
        "time": None if event.time is None else _time(event.time),
        "action": event.action,
        "value": event.value,
        "request_id": event.request_id,
        "group": event.group,
        "features": dict(event.features) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _list(body: dict[str, Any]) -> RankedList:
    items = tuple(
        Ranked(
            item=one["item"],
            title=one["title"],
            score=one["score"],
            position=one["position"],
            pinned=one["pinned"],
            fallback=one["fallback"],
            reasons=tuple(Reason(why["item"], why["title"], why["time"], why["effect"]) for why in one["reasons"]),
            interest=one["interest"],
        )
        for one in body["items"]
    )
    return RankedList(
        request_id=body["request_id"],
        model=body["model"],
        generation=body["generation"],
        items=items,
        fallback=body["fallback"],
        history_events=body["history_events"],
        unknown_items=body["unknown_items"],
    )


def _refused(answer: httpx.Response) -> ClientError:
    try:
        problem = answer.json()
        return ClientError(str(problem["detail"]), status=answer.status_code, error_code=str(problem["code"]))
    except (ValueError, KeyError, TypeError):
        return ClientError(f"the server answered {answer.status_code}", status=answer.status_code)


def _time(when: int | datetime) -> int | str:
    if not isinstance(when, datetime):
        return when
    if when.tzinfo is None:
        raise ClientError(f"the time {when} has no zone", "for example datetime.now(UTC)")
    return when.isoformat()


def _part(identifier: str) -> str:
    return quote(identifier, safe="")


def _new_id() -> str:
    return uuid.uuid4().hex
