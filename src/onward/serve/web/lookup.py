"""Looking up items and users."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.evaluate import report_text as text
from onward.serve.api.problems import ApiError
from onward.serve.api.schemas import SESSION
from onward.serve.lists.items import LiveCatalog
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
    """Items whose title or id holds the words of the query (all items without one), those of most events first."""
    engine = service.deployer.engine
    live = engine.catalog
    counts = np.zeros(len(live), dtype=np.int64)
    counts[: live.n_model] = engine.model.bundle.model.items.train_counts[1:]
    found = np.flatnonzero(_matching(live, query))
    some = found[np.argsort(-counts[found], kind="stable")]
    return {
        "query": query,
        "size": f"{len(live):,} items that lists are made of. Items added at run time are among them.",
        "said": _said(query, len(some)),
        "found": [_item(service, live.id(row + 1), int(counts[row])) for row in some[:FOUND].tolist()],
        "near": engine.model.bundle.catalog.suggest(query) if query and not len(some) else [],
    }


def _matching(live: LiveCatalog, query: str) -> NDArray[np.bool_]:
    """(N,) bool: items whose title and id together hold every word of the query."""
    texts = _texts(live)
    found = pl.repeat(True, len(texts), eager=True)
    for word in query.casefold().split():
        found &= texts.str.contains(word, literal=True)
    return found.to_numpy()


@lru_cache(maxsize=2)
def _texts(live: LiveCatalog) -> pl.Series:
    """Titles and ids in lower case; a catalog that changed is another object."""
    return pl.Series([f"{live.title(index)} {live.id(index)}".casefold() for index in range(1, len(live) + 1)])


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


def _item(service: Service, wanted: str, events: int) -> dict[str, Any]:
    shown = line(service, wanted)
    return {
        "item": wanted,
        "title": shown.title,
        "features": shown.features,
        "note": text.counted(events, "event") if events else "not in training",
    }


def _said(query: str, found: int) -> str:
    if not query:
        return f"The {min(found, FOUND)} with most events in training:"
    more = f"; the {FOUND} with most events in training" if found > FOUND else ""
    return f"{text.counted(found, 'item')} like '{query}'{more}:"
