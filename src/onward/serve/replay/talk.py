"""The conversation of a replay: which events go in when, and what is asked in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from onward.client import Client, Event, RankedList
from onward.data.dataset import Dataset
from onward.data.sequences import Histories, Ints
from onward.data.split import Part
from onward.errors import ConfigError
from onward.serve.replay.context import Contexts
from onward.serve.store.importing import DatasetEvents

LISTS_TOGETHER = 50
EVENTS_TOGETHER = 1_000
HISTORY = 10_000
"""Newest events of a history that are compared."""

Progress = Callable[[int, int], None]
"""Called with (events sent, events in all)."""


class Timeline:
    """The order in which events happened: of equal times, that of the data set.

    Attributes:
        order: (N,) positions, oldest first.
        place: (N,) where each position stands in it.
        owner: (N,) row of each position's user.
    """

    def __init__(self, data: Dataset) -> None:
        histories = data.histories
        size = len(histories.item)
        self.order: Ints = np.arange(size) if histories.time is None else np.argsort(histories.time, kind="stable")
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(size)
        self.owner = np.repeat(np.arange(len(histories)), histories.lengths)


@dataclass(frozen=True)
class Plan:
    """The requests, in the order in which they are asked.

    Attributes:
        part: the requests.
        at: (R,) microseconds UTC that each is asked as of; None where they are asked as of now.
        k: length of the lists.
        left_out: requests that can't be asked.
    """

    part: Part
    at: Ints | None
    k: int
    left_out: int


def make_plan(whole: Part, data: Histories, timeline: Timeline, by_time: bool, k: int, limit: int | None) -> Plan:
    """The requests of a part, the first `limit` of them.

    Args:
        by_time: whether a history is what is strictly earlier in time, as protocol `time` says.
    """
    times = data.time if by_time or whole.request_time == "target" else None
    askable = np.ones(len(whole), dtype=np.bool_)
    if times is not None:
        newest = times[np.maximum(whole.history_end - 1, 0)]
        empty = whole.history_end == whole.history_start
        askable = empty | (newest < times[whole.target_start])
    rows = np.flatnonzero(askable)
    rows = rows[np.argsort(timeline.place[whole.target_start[rows]])][:limit]
    part = whole.select(rows)
    at = None if times is None else times[part.target_start]
    return Plan(part, at, k, int((~askable).sum()))


@dataclass
class Conversation:
    """What was sent and what came back.

    Attributes:
        lists: one a request.
        same_history: whether the history of each came back as it was sent.
        refused: reason -> events that the server didn't take.
        events: that were sent.
        seconds: from the first event to the last answer.
    """

    lists: list[RankedList] = field(default_factory=list)
    same_history: list[bool] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    events: int = 0
    seconds: float = 0.0


def converse(
    client: Client, data: Dataset, plan: Plan, timeline: Timeline, partly: bool, progress: Progress | None
) -> Conversation:
    """Send the log and ask; `partly` stops at the last request.

    Raises ConfigError when the server knows the log's users already, ClientError.
    """
    started = perf_counter()
    talk = _Talk(client, data, plan, timeline)
    asked = timeline.place[plan.part.target_start]
    total = len(timeline.order) if not partly else int(asked.max(initial=-1)) + 1
    sent = 0
    for row, place in enumerate(asked.tolist()):
        talk.send(sent, place)
        talk.ask(row)
        sent = place
        if progress is not None:
            progress(sent, total)
    talk.send(sent, total)
    talk.flush()
    if progress is not None:
        progress(total, total)
    return replace(talk.said, events=total, seconds=perf_counter() - started)


class _Talk:
    """Sends events and asks, each user's in order, as many together as that allows."""

    def __init__(self, client: Client, data: Dataset, plan: Plan, timeline: Timeline) -> None:
        self._client, self._plan, self._timeline = client, plan, timeline
        self._users, self._make, self._timed = data.users["user"].to_list(), DatasetEvents(data), data.histories.time
        self._contexts = Contexts(data, plan.part, self._make)
        self._events: list[int] = []
        self._asks: list[int] = []
        self._asking: set[int] = set()
        self.said = Conversation()
        if len(timeline.order):
            self._require_unknown(self._users[int(timeline.owner[timeline.order[0]])])

    def _require_unknown(self, user: str) -> None:
        if self._client.history(user, limit=1):
            raise ConfigError(
                f"the server knows user '{user}' already, so its histories are not those of the log",
                "start it with a store that has none of these events: onward serve MODEL --store NEW.db",
            )

    def send(self, first: int, end: int) -> None:
        """The events at some places of the timeline."""
        positions = self._timeline.order[first:end]
        for position, user in zip(positions.tolist(), self._timeline.owner[positions].tolist(), strict=True):
            if user in self._asking or len(self._events) == EVENTS_TOGETHER:
                self.flush()
            self._events.append(position)

    def ask(self, row: int) -> None:
        """The list of a request."""
        if len(self._asks) == LISTS_TOGETHER:
            self.flush()
        self._asks.append(row)
        self._asking.add(int(self._plan.part.user[row]))

    def flush(self) -> None:
        """Send the events that wait, then ask what waits: these events come before all of it."""
        if self._events:
            positions = np.array(self._events)
            outcomes = self._client.add_events(self._made(positions))
            for outcome in outcomes:
                if outcome.status in ("conflict", "rejected"):
                    reason = outcome.reason or outcome.status
                    self.said.refused[reason] = self.said.refused.get(reason, 0) + 1
        if self._asks:
            part, at = self._plan.part, self._plan.at
            users = [self._users[user] for user in part.user[self._asks].tolist()]
            when = () if at is None else at[self._asks].tolist()
            known = self._contexts(np.array(self._asks)) if self._contexts else ()
            self.said.lists += self._client.recommend_many(users, k=self._plan.k, at=when, contexts=known)
            self.said.same_history += [self._came_back(row, user) for row, user in zip(self._asks, users, strict=True)]
        self._events, self._asks, self._asking = [], [], set()

    def _made(self, positions: Ints) -> list[Event]:
        stored = self._make(positions, self._timeline.owner[positions])
        return [
            Event(one.user, one.item, one.time, one.action, one.value, None, one.group, one.id, one.features)
            for one in stored
        ]

    def _came_back(self, row: int, user: str) -> bool:
        """Whether the server gives back all that was sent of a user before a request, bit for bit."""
        part = self._plan.part
        positions = np.arange(int(part.history_start[row]), int(part.target_start[row]))[-HISTORY:]
        sent = [(one.item, one.time, one.action, one.value, one.group, one.features) for one in self._made(positions)]
        got = self._client.history(user, limit=max(1, len(positions)))
        timed = self._timed is not None
        return sent == [
            (one["item"], one["time"] if timed else None, one["action"], one["value"], one["group"], one["features"])
            for one in got
        ]
