"""Operations: figures, charts, models and the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from onward.evaluate import report_text as text
from onward.serve.api.metrics import CLICK_HOURS
from onward.serve.service import Service
from onward.serve.store.protocol import ClickThrough
from onward.serve.web.cards import Card, card
from onward.serve.web.samples import Rates, Samples
from onward.serve.web.words import milliseconds

CHARTS = (
    {"key": "requests", "title": "API requests a second", "unit": "/s", "series": ["requests"]},
    {
        "key": "latency",
        "title": "Latency of recommendations, ms",
        "unit": "ms",
        "series": ["p50", "p95", "p99", "model, p50"],
    },
    {"key": "events", "title": "Events a minute", "unit": "/min", "series": ["events"]},
)


def figures(service: Service, samples: Samples) -> dict[str, Any]:
    """Tiles and the points of the charts, for `operations_now`."""
    now, seconds = samples.window()
    clicks = _clicks(service)
    lists, clicked = sum(one.lists for one in clicks.values()), sum(one.clicks for one in clicks.values())
    waiting = f"{service.metrics.value('queue'):,.0f} waiting in the queue"
    tiles = [
        _tile("API requests", _rate(now.requests), "a second", f"lists and events, over {text.duration(seconds)}"),
        _latency(now),
        _tile("Events", _rate(now.events), "a minute", "acknowledged as durable"),
        _tile("Click-through", text.percent(clicked / lists) if lists else "–", "", _of_lists(clicked, lists)),
        _tile("Fallback", text.percent(now.fallback), "", "of lists, filled by popularity"),
        _tile("Server errors", text.whole(now.failed), "", waiting, bad=now.failed > 0),
    ]
    return {"tiles": tiles, "samples": _points(samples.series()), "charts": CHARTS}


def models(service: Service, said: str = "", failed: str = "", failed_detail: str = "") -> dict[str, Any]:
    """The table of models.

    Args:
        said: what was done just now.
        failed: what was tried and failed, with why.
    """
    found = service.models()
    deployment = found.deployment
    clicks = _clicks(service)
    cards = {name: card(service.deployer.models.path(name)) for name in found.models}
    metric = next((one.metric for one in cards.values() if one and one.metric), None)
    if not failed and deployment.reason:
        failed, failed_detail = "The last switch was given up", deployment.reason
    return {
        "active": deployment.active or "no model",
        "previous": deployment.previous,
        "target": deployment.target,
        "metric": text.metric_name(metric) if metric else None,
        "said": said,
        "failed": failed,
        "failed_detail": failed_detail,
        "rows": [_row(name, cards[name], clicks.get(name), deployment.active, metric) for name in found.models],
        "workers": _workers([worker.state for worker in found.workers]),
        "unattributed": _unattributed(service),
    }


def store(service: Service) -> dict[str, Any]:
    """What the event store holds."""
    stats = service.store.stats()
    facts = [
        ("Events", text.whole(stats.events), _since(stats.oldest)),
        ("Users", text.whole(stats.users), "anonymous visitors among them"),
        ("Items", text.whole(stats.items), "named by events or the catalog"),
        ("Lists logged", text.whole(stats.impressions), _lost(stats.impressions_lost)),
        ("Size", _bytes(stats.bytes), f"and {_bytes(stats.log_bytes)} of log" if stats.log_bytes else ""),
        ("Forgotten", text.whole(stats.forgotten), "users"),
    ]
    return {
        "backend": {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(stats.backend, stats.backend),
        "events": stats.events,
        "facts": [{"label": label, "value": value, "note": note} for label, value, note in facts],
    }


def _row(
    name: str, found: Card | None, clicks: ClickThrough | None, active: str | None, metric: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "active": name == active,
        "kind": found.kind if found else "can't be read",
        "size": found.items if found else None,
        "measured": found.value if found and found.metric == metric else None,
        "lists": clicks.lists if clicks else 0,
        "clicks": clicks.clicks if clicks else 0,
        "share": clicks.clicks / clicks.lists if clicks and clicks.lists else None,
    }


def _points(series: Sequence[tuple[float, Rates]]) -> Mapping[str, Any]:
    lines = zip(*((*rates.quantiles, rates.model) for _, rates in series), strict=True)
    return {
        "time": [round(when, 1) for when, _ in series],
        "requests": [[rates.requests for _, rates in series]],
        "events": [[rates.events for _, rates in series]],
        "latency": [[None if value is None else 1000 * value for value in line] for line in lines] or [[]] * 4,
    }


def _clicks(service: Service) -> dict[str, ClickThrough]:
    return {one.model: one for one in service.store.click_through(_day_ago()).models}


def _workers(states: Sequence[str]) -> str:
    others = [state for state in states if state != "ready"]
    return f"{text.counted(len(states), 'worker')}, " + (", ".join(others) if others else "ready")


def _unattributed(service: Service) -> str:
    number = service.store.click_through(_day_ago()).unattributed
    return f"Lists and clicks of the last 24 hours; {text.counted(number, 'click')} on no logged list."


def _day_ago() -> int:
    return time.time_ns() // 1000 - int(CLICK_HOURS * 3_600e6)


def _tile(label: str, value: str, unit: str, note: str, bad: bool = False) -> dict[str, Any]:
    return {"label": label, "value": value, "unit": unit if value != "–" else "", "note": note, "bad": bad}


def _since(oldest: int | None) -> str:
    return "" if oldest is None else f"since {text.day(oldest)}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _latency(rates: Rates) -> dict[str, Any]:
    if rates.quantiles[0] is None:
        return _tile("Model, median", milliseconds(rates.model), "", "no list over the API yet")
    tail = f"95% in {milliseconds(rates.quantiles[1])}, 99% in {milliseconds(rates.quantiles[2])}"
    return _tile("Latency, median", milliseconds(rates.quantiles[0]), "", tail)


def _of_lists(clicks: int, lists: int) -> str:
    if not lists:
        return "no list in 24 hours"
    return f"{text.counted(clicks, 'click')} on {text.counted(lists, 'list')}, 24\N{NO-BREAK SPACE}h"


def _lost(lists: int) -> str:
    return f"{lists:,} lost to a full buffer" if lists else "none lost"


def _bytes(number: int | None) -> str:
    value = float(number or 0)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"
