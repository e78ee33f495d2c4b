"""What the tests of event stores share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from forked import LONGEST
from onward.config import SplitConfig
from onward.manifest import BundleManifest, DataFacts
from onward.serve.store.protocol import Event, EventStore, Impression, Outcome

HOUR = 3_600_000_000
DAY = 24 * HOUR
Open = Callable[..., EventStore]


def now() -> int:
    return time.time_ns() // 1_000


def event(number: int, user: str = "ann", item: str = "tea", at: int | None = 1_000, **more: object) -> Event:
    return Event(f"event-{number}", user, item, at, **more)  # type: ignore[arg-type]


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def items(store: EventStore, user: str, limit: int = 100, before: int | None = None) -> list[str]:
    names = dict(store.items_after(0))
    return [names[key] for key in store.history(user, limit, before).items.tolist()]


def impression(request: str, user: str | None = "ann", at: int | None = None, **more: object) -> Impression:
    values = {"items": ("tea", "milk"), "policy": "top", "propensities": None, "model": "m1", **more}
    return Impression(request_id=request, user=user, time=now() if at is None else at, **values)  # type: ignore[arg-type]


def wait_for(found: Callable[[], bool]) -> None:
    """Until buffered lists are written."""
    end = time.monotonic() + LONGEST
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


def write_manifest(folder: Path, holds_user_rows: bool) -> Path:
    """A bundle folder, as far as a receipt looks into it."""
    facts = {"users": 1, "events": 1, "training_events": 1}
    manifest = BundleManifest(
        model="m",
        dataset="0",
        data=DataFacts(**facts),
        items=1,
        holds_user_rows=holds_user_rows,
        seen="exclude",
        split=SplitConfig(),
        training={},
        packages={},
        files={},
    )
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder
