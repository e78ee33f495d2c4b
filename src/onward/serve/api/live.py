"""Routes that carry the load: recommendations, events, and what became of lists.

Recommendations and events are functions that tell what they come to (`completion.Done`), for lanes and routes alike.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import pydantic_core
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from onward.serve.api.completion import Done, result_of, then
from onward.serve.api.problems import ApiError, FieldError
from onward.serve.api.replies import AcceptedOut, EventsOut, RecommendationOut, RecommendationsOut
from onward.serve.api.schemas import (
    ClickIn,
    EventIn,
    EventsIn,
    HistoryItemIn,
    RecommendationIn,
    RecommendationsIn,
    ShownIn,
    microseconds,
    user_of,
)
from onward.serve.lists.requests import HistoryItem, Ranked, Request
from onward.serve.service import CLICK, Recommended, Service
from onward.serve.store.protocol import Event, Outcome

JSON = "application/json"
_ONE_LIST, _LISTS = TypeAdapter(RecommendationIn), TypeAdapter(RecommendationsIn)
_ONE_EVENT, _EVENTS = TypeAdapter(EventIn), TypeAdapter(EventsIn)


def starts(service: Service) -> dict[str, Callable[[bytes, Done[bytes]], None]]:
    """Path -> what answers a POST of a JSON body, without the framework; it may also raise what a route may."""

    def recommendations(body: bytes, done: Done[bytes]) -> None:
        _recommend(service, _parse(body, b'"requests"', _ONE_LIST, _LISTS), done)

    def events(body: bytes, done: Done[bytes]) -> None:
        _add_events(service, _parse(body, b'"events"', _ONE_EVENT, _EVENTS), done)

    return {"/v1/recommendations": recommendations, "/v1/events": events}


def live_router(service: Service) -> APIRouter:
    """POST recommendations, events, shown and clicks."""
    router = APIRouter(prefix="/v1", tags=["live"])

    @router.post("/recommendations", response_model=RecommendationOut | RecommendationsOut)
    async def recommendations(body: RecommendationIn | RecommendationsIn) -> Response:
        """The best items for a user, an anonymous session or a history; or several lists at once."""
        return Response(await result_of(partial(_recommend, service, body)), media_type=JSON)

    @router.post("/events", response_model=EventsOut)
    async def events(body: EventIn | EventsIn) -> Response:
        """Store one event or up to 1,000; answered when they are durable. Each has its own result."""
        return Response(await result_of(partial(_add_events, service, body)), media_type=JSON)

    @router.post("/shown")
    async def shown(body: ShownIn) -> AcceptedOut:
        """Say which items of a list were seen; a repetition changes nothing."""
        user = _who(body.user, body.session, "")
        await asyncio.to_thread(service.store.record_shown, body.request_id, user, body.items)
        return AcceptedOut()

    @router.post("/clicks", response_model=EventsOut)
    async def clicks(body: ClickIn) -> Response:
        """Store a click on an item of a list: an event with the action `click`."""
        event = EventIn(
            id=body.id,
            user=body.user,
            session=body.session,
            item=body.item,
            time=body.time,
            action=CLICK,
            request_id=body.request_id,
        )
        return Response(await result_of(partial(_add_events, service, event)), media_type=JSON)

    return router


def _parse(body: bytes, several: bytes, one: TypeAdapter[Any], many: TypeAdapter[Any]) -> Any:
    """One or several, by the field that only several have; looked for in full only where one can't be read."""
    try:
        return one.validate_json(body)
    except ValidationError:
        if several not in body:
            raise
        return many.validate_json(body)


def _recommend(service: Service, body: RecommendationIn | RecommendationsIn, done: Done[bytes]) -> None:
    if isinstance(body, RecommendationIn):
        service.start_list(_request(service, body, ""), then(done, lambda made: pydantic_core.to_json(_list(made))))
        return
    limit = service.settings.limits.batch
    if len(body.requests) > limit:
        raise _wrong("requests", f"at most {limit} lists are answered at once")
    requests = [_request(service, one, f"requests.{place}.") for place, one in enumerate(body.requests)]
    service.start_lists(
        requests, then(done, lambda made: pydantic_core.to_json({"results": [_list(one) for one in made]}))
    )


def _request(service: Service, body: RecommendationIn, where: str) -> Request:
    if (body.user is not None) + (body.session is not None) + (body.history is not None) != 1:
        raise _wrong(where + "user", "recommend for whom? give one of user, session and history")
    if body.k > service.settings.limits.k:
        raise _wrong(where + "k", f"a list has at most {service.settings.limits.k} items")
    history = None
    if body.history is not None:
        history = tuple(HistoryItem(one) if isinstance(one, str) else _typed(one) for one in body.history)
    user = user_of(body.user, body.session)
    at, by, weight = microseconds(body.at), body.rank_by, body.interest_weight
    return Request(user, history, body.k, at, body.rules, body.reasons, body.context, by, weight)


def _typed(event: HistoryItemIn) -> HistoryItem:
    return HistoryItem(event.item, microseconds(event.time), event.action, event.value, event.group, event.features)


def _list(made: Recommended) -> dict[str, Any]:
    answer = made.answer
    return {
        "request_id": made.request_id,
        "model": answer.model,
        "generation": answer.generation,
        "items": [_ranked(ranked) for ranked in answer.items],
        "fallback": answer.fallback,
        "history_events": answer.history_events,
        "unknown_items": answer.unknown_items,
    }


def _ranked(ranked: Ranked) -> dict[str, Any]:
    item, title, score, position, reasons, pinned, fallback, interest = ranked
    return {
        "item": item,
        "title": title,
        "score": score,
        "position": position,
        "reasons": [reason._asdict() for reason in reasons] if reasons else (),
        "pinned": pinned,
        "fallback": fallback,
        "interest": interest,
    }


def _add_events(service: Service, body: EventIn | EventsIn, done: Done[bytes]) -> None:
    if isinstance(body, EventIn):
        events = [_event(body, "")]
    else:
        limit = service.settings.limits.events
        if len(body.events) > limit:
            raise _wrong("events", f"at most {limit} events are taken at once")
        events = [_event(one, f"events.{place}.") for place, one in enumerate(body.events)]
    service.start_events(events, then(done, _outcomes))


def _outcomes(outcomes: list[Outcome]) -> bytes:
    results = [{"id": one.id, "status": one.status, "reason": one.reason} for one in outcomes]
    return pydantic_core.to_json({"results": results})


def _event(body: EventIn, where: str) -> Event:
    return Event(
        body.id or secrets.token_hex(16),
        _who(body.user, body.session, where),
        body.item,
        microseconds(body.time),
        body.action,
        body.value,
        body.request_id,
        body.group,
        body.features,
    )


def _who(user: str | None, session: str | None, where: str) -> str:
    who = user_of(user, session)
    if who is None or (user is not None and session is not None):
        raise _wrong(where + "user", "who was it? give one of user and session")
    return who


def _wrong(where: str, message: str) -> ApiError:
    return ApiError(422, "invalid", f"{where}: {message}", errors=[FieldError(where=where, message=message)])
