"""A dataset's events into the event store, so that a server knows from its start what its users did before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import JsonValue

from onward.data.dataset import CODED, FEATURE, MISSING_TIME, Dataset
from onward.serve.store.protocol import EventStore
from onward.serve.store.values import Event, Outcome

CHUNK = 5_000
"""Events in a commit."""


@dataclass(frozen=True)
class Imported:
    """What became of a dataset's events.

    Attributes:
        stored: events that are in the store now and weren't before.
        known: events that an earlier import had stored.
        refused: reason -> events that were not taken.
    """

    stored: int
    known: int
    refused: dict[str, int]


def import_events(store: EventStore, dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Imported:
    """Store every event of a dataset, in the order of time.

    An event's id is made from the dataset's hash and the event's place in it, so that a second import, or one that
    goes on where another was interrupted, stores nothing twice. Events of a dataset without times get the time of the
    import; their order stays.

    Args:
        progress: called with (events done, events in all).

    Raises:
        StoreError: the store can't take events now; what was stored stays.
    """
    columns = dataset.histories.columns
    total = dataset.manifest.events
    owners = np.repeat(np.arange(dataset.manifest.users), dataset.histories.end - dataset.histories.start)
    order = np.argsort(columns["time"], kind="stable") if "time" in columns else np.arange(total)
    stored, known, refused = 0, 0, dict[str, int]()
    make = DatasetEvents(dataset)
    for first in range(0, total, CHUNK):
        rows = order[first : first + CHUNK]
        for outcome in store.append(make(rows, owners[rows])):
            stored += outcome.status == "stored"
            known += outcome.status == "duplicate"
            if outcome.status in ("conflict", "rejected"):
                reason = _reason(outcome)
                refused[reason] = refused.get(reason, 0) + 1
        if progress is not None:
            progress(min(total, first + CHUNK), total)
    return Imported(stored, known, refused)


class DatasetEvents:
    """A dataset's events as the store takes them."""

    def __init__(self, dataset: Dataset) -> None:
        self._columns = dataset.histories.columns
        self._prefix = f"dataset-{dataset.manifest.hash[:16]}"
        self._users = dataset.users["user"].to_list()
        self._items = dataset.catalog.ids
        self._actions = dataset.manifest.actions
        self._features = [
            (name, FEATURE + name, kind, dataset.event_values(name).to_list() if kind in CODED else [])
            for name, kind in dataset.manifest.event_features.items()
        ]

    def __call__(self, rows: np.ndarray, users: np.ndarray) -> list[Event]:
        """Events of some places of the arrays; `users` are the rows of their users."""
        taken = {name: column[rows].tolist() for name, column in self._columns.items()}
        absent = [None] * len(rows)
        events = zip(
            rows.tolist(),
            users.tolist(),
            taken["item"],
            taken.get("time", absent),
            taken.get("action", absent),
            taken.get("value", absent),
            taken.get("group", absent),
            strict=True,
        )
        features = self._features_of(taken, len(rows))
        return [
            Event(
                f"{self._prefix}-{row}",
                self._users[user],
                self._items[item - 1],
                time=time,
                action=None if action is None else self._actions[action],
                value=None if value is None or value != value else value,
                group=None if group is None else f"{self._prefix}-{group}",
                features=known,
            )
            for (row, user, item, time, action, value, group), known in zip(events, features, strict=True)
        ]

    def _features_of(self, taken: Mapping[str, list[Any]], size: int) -> list[dict[str, JsonValue]]:
        """What else is known of each event; times are microseconds."""
        found: list[dict[str, JsonValue]] = [{} for _ in range(size)]
        for name, column, kind, values in self._features:
            for known, given in zip(found, taken[column], strict=True):
                if kind in CODED and given:
                    known[name] = values[given - 1]
                elif kind not in CODED and given == given and given != MISSING_TIME:  # a missing number is NaN
                    known[name] = given
        return found


def _reason(outcome: Outcome) -> str:
    return outcome.reason or outcome.status
