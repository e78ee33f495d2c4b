"""Event stores to test: SQLite and PostgreSQL, the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_helpers import Open

from onward.serve.settings import ImpressionsConfig
from onward.serve.store.protocol import EventStore, open_store


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def reopen(url: str) -> Iterator[Open]:
    """Opens the store once more: another connection, as another process would have it."""
    opened: list[EventStore] = []

    def open_it(impressions: ImpressionsConfig | None = None) -> EventStore:
        opened.append(open_store(url, impressions))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> EventStore:
    return reopen()
