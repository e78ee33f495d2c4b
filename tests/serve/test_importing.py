"""A dataset's events in the event store: the same histories, once each, whatever was imported before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.serve.store import importing
from onward.serve.store.importing import import_events
from onward.serve.store.protocol import EventStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    opened = open_store(str(tmp_path / "events.db"))
    yield opened
    opened.close()


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Users whose events lie between each other's in time, with actions and values, some missing."""
    rng = np.random.default_rng(0)
    rows = 500
    frame = pl.DataFrame(
        {
            "user": [f"u{n}" for n in rng.integers(20, size=rows)],
            "item": [f"i{n}" for n in rng.integers(30, size=rows)],
            "time": rng.integers(1_700_000_000, 1_700_000_200, size=rows),
            "action": rng.choice(["view", "buy"], size=rows),
            "value": [None if n % 7 == 0 else float(n % 5) for n in range(rows)],
        }
    )
    return prepare(frame, tmp_path / "dataset")


def test_histories_are_those_of_the_dataset(
    store: EventStore, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 64)
    told: list[tuple[int, int]] = []
    done = import_events(store, dataset, lambda *progress: told.append(progress))
    assert (done.stored, done.known, done.refused) == (500, 0, {})
    assert told[-1] == (500, 500)
    ids, actions = dict(store.items_after(0)), store.action_names()
    histories = dataset.histories
    for row, user in enumerate(dataset.users["user"]):
        stored, own = store.history(user, 1000), slice(histories.start[row], histories.end[row])
        assert [ids[key] for key in stored.items.tolist()] == [
            dataset.catalog.id(index) for index in histories.item[own].tolist()
        ]
        assert stored.times.tolist() == histories.columns["time"][own].tolist()
        assert [actions[key] for key in stored.actions.tolist()] == [
            dataset.manifest.actions[code] for code in histories.columns["action"][own].tolist()
        ]
        np.testing.assert_array_equal(stored.values, histories.columns["value"][own])
    events, _ = store.since(0, 1000)
    times = [event.time for event in events]
    assert times == sorted(times), "those that happened last are also the last in the store"


def test_a_second_import_stores_what_is_missing(store: EventStore, dataset: Dataset) -> None:
    import_events(store, dataset)
    done = import_events(store, dataset)
    assert (done.stored, done.known) == (0, 500)
    assert store.stats().events == 500


def test_a_forgotten_user_stays_forgotten(store: EventStore, dataset: Dataset) -> None:
    import_events(store, dataset)
    own = len(store.history("u3", 1000))
    store.forget("u3")
    done = import_events(store, dataset)
    assert list(done.refused.values()) == [own]
    assert len(store.history("u3", 1000)) == 0
