"""From a bundle's folder to an engine that may serve: loaded, tried, warm, and checked on what users did lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from onward.errors import FormatError
from onward.serve.lists.engine import Engine
from onward.serve.lists.requests import Request, Rules
from onward.serve.models.folder import load_model
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import EventStore

LATEST = 2_000
"""Newest events whose users are asked for."""
K = 10


def start_engine(
    name: str, folder: Path, store: EventStore, settings: ServeConfig, models: Path | None = None
) -> Engine:
    """An engine that has answered recent users, and somebody unknown, as it will have to.

    Args:
        models: where the index of a large catalog is kept; None: nowhere.

    Raises:
        FormatError: the bundle isn't sound, or a list isn't full or has scores that aren't finite.
        ConfigError: the server's rules don't fit the catalog.
        StoreError: the store can't be read.
    """
    engine = Engine(load_model(name, folder, settings, models), store, settings)
    users = [None, *_recent(store, settings.models.shadow_histories)]
    for first in range(0, len(users), settings.batch.size):
        _shadow_check(engine, users[first : first + settings.batch.size], full=not settings.rules.at_most)
    return engine


def _shadow_check(engine: Engine, users: Sequence[str | None], full: bool) -> None:
    """Raise FormatError unless every answer has finite scores, and as many items as it can where it is to be full."""
    rules = Rules(seen="include")
    wanted = min(K, engine.passing(rules)) if full else 0
    name = engine.model.name
    for answer in engine.recommend([Request(user=user, k=K, rules=rules) for user in users]):
        if not all(math.isfinite(ranked.score) for ranked in answer.items):
            raise FormatError(f"model '{name}' gives recent users scores that are not finite", "train it again")
        if len(answer.items) < wanted:
            raise FormatError(f"model '{name}' gives a recent user {len(answer.items)} items, not {wanted}")


def _recent(store: EventStore, most: int) -> list[str]:
    """Users of the newest events."""
    events, _ = store.since(max(0, store.last_seq() - LATEST), LATEST)
    return list(dict.fromkeys(event.user for event in reversed(events)))[:most]
