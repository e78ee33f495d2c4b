"""Looking up items and users."""

from __future__ import annotations

import time
from typing import Any

import polars as pl

from onward.data.catalog import TITLE_COLUMNS
from onward.evaluate import report_text as text
from onward.serve.problems import ApiError
from onward.serve.schemas import SESSION
from onward.serve.service import Service
from onward.serve.web.items import features_line, line
from onward.serve.web.recent import Recent
from onward.serve.web.words import feature, moment

FOUND = 30
"""Items of a search, at most."""
SIMILAR = 10
EVENTS = 200
"""Events of a user that are listed."""
COUNTED = 10_000


def catalog(service: Service, query: str) -> dict[str, Any]:
    """Items whose title or id holds the query; the first ones of the catalog without one."""
    engine = service.deployer.engine
    live = engine.catalog
    frame = live.frame
    names = [name for name in ("item", *TITLE_COLUMNS) if name in frame.columns]
    hits = frame.with_row_index("_index", 1)
    if query:
        wanted = query.casefold()
        inside = [pl.col(name).cast(pl.String).str.to_lowercase().str.contains(wanted, literal=True) for name in names]
        hits = hits.filter(pl.any_horizontal(inside))
    some = hits["_index"].head(FOUND).to_list()
    return {
        "query": query,
        "size": f"{len(live):,} items that lists are made of. Items added at run time are among them.",
        "said": _said(query, hits.height),
        "found": [_item(service, live.id(index)) for index in some],
        "near": engine.model.bundle.catalog.suggest(query) if query and not some else [],
    }


def item(service: Service, wanted: str) -> dict[str, Any]:
    """One item with its features and what is similar. Raises ApiError 404 for one that nobody knows."""
    found = service.item(wanted)
    if found is None:
        raise ApiError(404, "no_such_item", f"there is no item '{wanted}' in the catalog")
    similar = service.similar(wanted, SIMILAR).items
    features = [{"label": "id", "value": found.id}]
    features += [{"label": name, "value": feature(value)} for name, value in found.features.items()]
    return {
        "title": found.title,
        "said": "It was taken out of the catalog: no list holds it." if found.deleted else features_line(found),
        "features": features,
        "similar": [
            {"item": one.item, "title": one.title, "score": one.score, "features": line(service, one.item).features}
            for one in similar
        ],
        "why_none": "The model that serves never saw this item in training, or knows no likeness between items.",
    }


def user(service: Service, recent: Recent, wanted: str) -> dict[str, Any]:
    """One user's history, or who was active lately where nobody is asked for."""
    now = time.time_ns() // 1000
    if not wanted:
        lately = [
            {"user": one.user, "title": line(service, one.item).title, "time": one.time} for one in recent.everyone()
        ]
        return {"user": None, "recent": lately, "now": now}
    events = service.history(wanted, COUNTED).events
    shown = [
        {"item": one.item, "title": found.title, "known": found.known, "action": one.action, "time": one.time}
        for one in reversed(events[-EVENTS:])
        for found in [line(service, one.item)]
    ]
    earlier = len(events) - len(shown)
    return {
        "user": wanted,
        "events": shown,
        "facts": _facts(events) if events else [],
        "earlier": f"{earlier:,} earlier" if earlier else "",
        "as_user": None if wanted.startswith(SESSION) else wanted,
        "now": now,
    }


def _facts(events: Any) -> list[dict[str, str]]:
    actions = sorted({one.action for one in events if one.action})
    more = " and more" if len(events) >= COUNTED else ""
    return [
        {"label": "Events", "value": f"{len(events):,}{more}", "note": "that the store holds"},
        {"label": "Items", "value": f"{len({one.item for one in events}):,}", "note": "different ones"},
        {"label": "First", "value": text.day(events[0].time), "note": moment(events[0].time)},
        {"label": "Last", "value": text.day(events[-1].time), "note": moment(events[-1].time)},
        {"label": "Actions", "value": ", ".join(actions) or "–", "note": "what was done"},
    ]


def _item(service: Service, wanted: str) -> dict[str, Any]:
    shown = line(service, wanted)
    return {"item": wanted, "title": shown.title, "features": shown.features, "note": wanted}


def _said(query: str, found: int) -> str:
    if not query:
        return f"The first {min(found, FOUND)} of the catalog."
    return f"{text.counted(found, 'item')} like '{query}'" + (f"; the first {FOUND}:" if found > FOUND else ":")
