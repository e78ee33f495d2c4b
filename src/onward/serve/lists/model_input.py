"""What the model is asked: histories from the store or from the request, by the rule that evaluation follows.

Items that the model's catalog doesn't have are left out and counted; everything else counts, trained on or not. Where
the training data had groups, events form groups: those of one basket, or of one time. Where it kept no duplicates there
are none. A model that reads times and was trained to be told when the answer is wanted is told; values are given to a
model that learned from values; what friends did lately to one that reads links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from time import time_ns

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.bundle import Bundle
from onward.data.friends import Friends
from onward.data.sequences import Histories, Ints
from onward.models.sequence import SequenceModel
from onward.serve.lists.baskets import in_baskets, runs
from onward.serve.lists.context import FeatureReader
from onward.serve.lists.friends import Circle, FriendReader
from onward.serve.lists.items import KeyIndex, LiveCatalog
from onward.serve.lists.requests import Request
from onward.serve.store.protocol import EventStore, StoredHistory

DEEPER = 4
"""Factor by which more of a history is read where the model knows too little of it."""
_NO_INTS: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Given:
    """One request's history.

    Attributes:
        items: (n,) int32 indices of the live catalog, oldest first; 0 for an item that it doesn't have.
        times: (n,) int64 microseconds UTC; empty where none are known.
        values: (n,) float32, NaN where missing.
        groups: (n,) int64 number of each event's group, ascending; empty where the model knows no groups.
        actions: (n,) int64 keys of `names`; 0 where an event has none.
        names: actions by key; of stored events perhaps not all of them yet.
        seqs: (n,) int64 of stored events.
        features: place in the typed history, which `seqs` holds then -> features; None of stored events.
        whole: whether these are all events of the user.
        at: microseconds UTC, as of when.
        context: feature -> value of the request: of its user, and of the event to come.
        friends: what friends of the user did lately.
    """

    items: NDArray[np.int32]
    times: Ints
    values: NDArray[np.float32]
    groups: Ints
    actions: Ints
    names: Sequence[str]
    seqs: Ints
    features: Mapping[int, Mapping[str, JsonValue]] | None
    whole: bool
    at: int
    context: Mapping[str, JsonValue]
    friends: Circle = ()


class HistoryReader:
    """Reads histories for one model.

    Args:
        limit: newest events read of a user, at most.
    """

    def __init__(self, bundle: Bundle, store: EventStore, keys: KeyIndex, limit: int) -> None:
        self._store, self._keys = store, keys
        self._names: list[str] = [""]
        data, model = bundle.manifest.data, bundle.model
        self._features = FeatureReader(model)
        self._friends = FriendReader(bundle, store)
        repeats = isinstance(model, SequenceModel) and model.repeat is not None
        reads_times = model.traits.timed or repeats or self._features.timed or self._friends.active
        self._timed = reads_times and data.time_min is not None
        self._told = bundle.manifest.split.request_time == "target"
        self._valued = model.value_range is not None
        self._grouped, self._baskets, self._duplicates = data.grouped, data.baskets, data.duplicates
        self._n_items = len(bundle.catalog)
        self._limit = self._most = limit
        if isinstance(model, SequenceModel) and not self._grouped:  # of groups, `max_length` counts each as one step
            self._limit = min(limit, model.config.max_length)

    def read(self, requests: Sequence[Request], catalog: LiveCatalog) -> list[Given]:
        """The history of each request."""
        now = time_ns() // 1000
        stored: dict[int, StoredHistory] = {}
        by_moment: dict[int | None, list[int]] = {}
        for row, request in enumerate(requests):
            if request.history is None and request.user is not None:
                by_moment.setdefault(request.at, []).append(row)
        for before, rows in by_moment.items():
            users = [requests[row].user or "" for row in rows]
            if len(rows) == 1:
                stored[rows[0]] = self._store.history(users[0], self._limit, before)
            else:
                stored.update(zip(rows, self._store.histories(users, self._limit, before), strict=True))
        given = [
            self._stored(one, stored[row], self._limit, now) if row in stored else self._typed(one, catalog, now)
            for row, one in enumerate(requests)
        ]
        return self._befriended(requests, given) if self._friends.active else given

    def _befriended(self, requests: Sequence[Request], given: Sequence[Given]) -> list[Given]:
        """With what friends did before each request or, where the model isn't told when that is, before its newest
        event: as in training."""
        before = [
            int(own.times[-1]) if self._timed and not self._told and len(own.times) else request.at
            for request, own in zip(requests, given, strict=True)
        ]
        circles = self._friends.read([one.user for one in requests], [one.context for one in requests], before)
        return [replace(own, friends=circle) for own, circle in zip(given, circles, strict=True)]

    def _stored(self, request: Request, found: StoredHistory, limit: int, now: int) -> Given:
        """What the store gave when asked for `limit` events; it is asked for more where too few are of known items."""
        whole = len(found) < limit
        found = replace(found, items=self._keys.lookup(found.items).astype(np.int64))
        found, groups = self._arranged(found, self._store.groups(found.seqs) if self._baskets else {})
        if not whole and limit < self._most and np.count_nonzero(self._readable(found.items)) < self._limit:
            limit = min(self._most, DEEPER * limit)
            return self._stored(request, self._store.history(request.user or "", limit, request.at), limit, now)
        at = now if request.at is None else request.at
        return Given(
            found.items.astype(np.int32), found.times, found.values, groups, found.actions, self._names, found.seqs,
            None, whole, at, request.context,
        )  # fmt: skip

    def _typed(self, request: Request, catalog: LiveCatalog, now: int) -> Given:
        """The history that comes with a request, as if its events had been stored in this order. Times count where
        every event has one; elsewhere each event is at a moment of its own."""
        history = request.history or ()
        actions = [one.action or "" for one in history]
        names = list(dict.fromkeys(["", *actions]))
        keys = {name: key for key, name in enumerate(names)}
        known = [one.time for one in history if one.time is not None]
        timed = len(known) == len(history)
        values = [np.nan if one.value is None else one.value for one in history]
        places = np.arange(len(history))
        typed = StoredHistory(
            catalog.indices([one.item for one in history]),
            np.array(known, dtype=np.int64) if timed else places,
            np.array([keys[action] for action in actions], dtype=np.int64),
            np.array(values, dtype=np.float32),
            places,
        )
        if timed:
            typed = _select(typed, np.argsort(typed.times, kind="stable"))
        baskets = {place: one.group for place, one in enumerate(history) if one.group is not None}
        typed, groups = self._arranged(typed, baskets if self._baskets else {})
        features = {place: one.features for place, one in enumerate(history)}
        times, at = typed.times if timed else _NO_INTS, now if request.at is None else request.at
        return Given(
            typed.items.astype(np.int32), times, typed.values, groups, typed.actions, names, typed.seqs,
            features, True, at, request.context,
        )  # fmt: skip

    def _arranged(self, events: StoredHistory, baskets: Mapping[int, str]) -> tuple[StoredHistory, Ints]:
        """A history as preparation makes it: the events of a basket together, without duplicates where it kept none.

        Args:
            events: `items` are indices of the live catalog.
            baskets: seq -> name of its basket.

        Returns it, and (n,) int64 number of each event's group; empty where the model knows no groups.
        """
        groups = _NO_INTS
        if self._baskets:
            events, groups = in_baskets(events, baskets)
        elif self._grouped:
            groups = runs(events.times)
        if self._duplicates in ("first", "last"):
            same = [events.items, events.times, events.actions, *([groups] if self._grouped else [])]
            kept = _distinct(same, self._duplicates)
            events, groups = _select(events, kept), groups[kept] if self._grouped else groups
        return events, groups

    def _readable(self, items: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(n,) bool: items that the model's catalog has."""
        return (items > 0) & (items <= self._n_items)

    def seen(self, request: Request, given: Given, since: int | None, actions: Sequence[str]) -> NDArray[np.int32]:
        """Indices of the items that a request's user has seen, of the whole history; some more than once, and 0s.

        Args:
            since: only events at or after this time, microseconds UTC.
            actions: only events of these; all where empty.
        """
        stored = request.user is not None and request.history is None
        if stored and not given.whole and (since is None or given.times[0] >= since):
            return self._keys.lookup(self._store.seen(request.user or "", since, actions or None, request.at))
        if since is None and not actions:
            return given.items
        kept = np.ones(len(given.items), dtype=np.bool_)
        if since is not None and len(given.times):
            kept &= given.times >= since
        if actions:
            kept &= np.isin(given.actions, self._action_keys(given, actions))
        return given.items[kept]

    def _know_actions(self, given: Sequence[Given]) -> None:
        """Read the names of stored actions where there are new ones."""
        for one in given:
            if one.names is self._names and one.actions.max(initial=0) >= len(self._names):
                self._names[:] = self._store.action_names()

    def _action_keys(self, given: Given, actions: Sequence[str]) -> list[int]:
        self._know_actions([given])
        return [key for key, name in enumerate(given.names) if key and name in actions]

    def histories(self, given: Sequence[Given]) -> tuple[Histories, Ints, Ints]:
        """What the model is asked, (B,) int64 events left out because the model has no such item, and (B,) int64 values
        of features that training didn't have."""
        items = given[0].items if len(given) == 1 else np.concatenate([one.items for one in given])
        ends = np.cumsum([len(one.items) for one in given], dtype=np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1]
        lengths = ends - starts
        columns: dict[str, NDArray[np.generic]] = {"item": items, **self._columns(given)}
        read, unread = self._features_of(given, lengths)
        about, unread_about = self._features.of_requests([one.context for one in given])
        columns |= read
        at = np.array([one.at for one in given], dtype=np.int64) if self._timed and self._told else None
        known, unknown = self._readable(items), np.zeros(len(given), dtype=np.int64)
        if not known.all():
            before = np.concatenate([[0], np.cumsum(known)])
            columns = {name: column[known] for name, column in columns.items()}
            unknown = lengths - (before[ends] - before[starts])
            starts, ends = before[starts], before[ends]
        friends, inputs = self._with_friends(columns, given) if self._friends.active else None, self._features.inputs
        made = Histories(columns, starts, ends, self._n_items, at, inputs, (), about, {}, friends)
        return made, unknown, unread + unread_about

    def _with_friends(self, columns: dict[str, NDArray[np.generic]], given: Sequence[Given]) -> Friends | None:
        """Where the events of friends lie; they are put behind the columns, which are nobody's own history there."""
        circles = [one.friends for one in given]
        events = [found for circle in circles for _, found in circle]
        items = [self._keys.lookup(one.items) for one in events]
        known = [self._readable(one) for one in items]
        items = [one[kept] for one, kept in zip(items, known, strict=True)]
        friends = self._friends.laid_out(circles, items, len(columns["item"]))
        more = int(sum(map(len, items)))
        for name, column in columns.items():
            if name == "item":
                added = np.concatenate([column[:0], *items])
            elif name == "time":
                times = [one.times[kept] for one, kept in zip(events, known, strict=True)]
                added = np.concatenate([column[:0], *times])
            else:
                added = np.zeros((more, *column.shape[1:]), dtype=column.dtype)
            columns[name] = np.concatenate([column, added])
        return friends

    def _columns(self, given: Sequence[Given]) -> dict[str, NDArray[np.generic]]:
        """The columns beside the items that this model reads, features aside."""
        columns: dict[str, NDArray[np.generic]] = {}
        if self._timed:
            columns["time"] = np.concatenate([_times(one) for one in given])
        if self._valued:
            columns["value"] = np.concatenate([one.values for one in given])
        if self._grouped:
            columns["group"] = np.concatenate([one.groups for one in given]).astype(np.int32)
        return columns

    def _features_of(self, given: Sequence[Given], lengths: Ints) -> tuple[dict[str, NDArray[np.generic]], Ints]:
        """What the model reads of the events beside their items, and (B,) int64 values that training didn't have."""
        if not self._features.inputs:
            return {}, np.zeros(len(given), dtype=np.int64)
        actions: list[str | None] = []
        if self._features.action is not None:
            self._know_actions(given)
            actions = [_name(one.names, action) for one in given for action in one.actions.tolist()]
        features: list[Mapping[str, JsonValue]] = []
        if self._features.named:
            stored = [one.seqs for one in given if one.features is None]
            found = self._store.event_features(np.concatenate(stored)) if stored else {}
            for one in given:
                known: Mapping[int, Mapping[str, JsonValue]] = found if one.features is None else one.features
                features += [known.get(seq, {}) for seq in one.seqs.tolist()]
        return self._features.of_events(actions, np.concatenate([one.values for one in given]), features, lengths)


def _name(names: Sequence[str], action: int) -> str | None:
    """The action of a key; None for no action, and for one that came just now."""
    return names[action] or None if action < len(names) else None


def _select(events: StoredHistory, places: Ints) -> StoredHistory:
    return StoredHistory(*(getattr(events, column.name)[places] for column in fields(events)))


def _distinct(columns: Sequence[NDArray[np.generic]], which: str) -> Ints:
    """Places of the first or last of the events that are the same in these columns: item, time, action, group."""
    rows = np.stack(columns, axis=1)
    if which == "last":
        kept = len(rows) - 1 - np.unique(rows[::-1], axis=0, return_index=True)[1]
    else:
        kept = np.unique(rows, axis=0, return_index=True)[1]
    return np.sort(kept)


def _times(given: Given) -> Ints:
    """(n,) int64; where no times are known, everything was when the list is asked for."""
    return given.times if len(given.times) == len(given.items) else np.full(len(given.items), given.at)
