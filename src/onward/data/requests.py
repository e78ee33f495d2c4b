"""What a split is made of: the training events of each user, and the requests of each part.

Every protocol trains on a prefix of each user's history, so a split is one position a user and, for each part, one
request a row: the history that is known and the events to predict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onward.config import RequestTime, SplitConfig
from onward.data.sequences import Histories, Ints
from onward.data.targets import is_action, with_targets


@dataclass(frozen=True)
class Part:
    """Requests of one part: row i asks for positions `target_start[i]` to `target_end[i]` (one event or one group).

    The history is positions `history_start[i]` to `history_end[i]`. All (R,) int64. `request_time` says what the
    model is told about when the request is made: nothing, or the time of the target. Of a group only the events of
    `target_action`, a code, are to be predicted; all of them where it is None. `friends_end`, (U,) int64, is where what
    is known of each user as a friend ends, for data without times; where there are times, the request's does that.
    """

    user: Ints
    history_start: Ints
    history_end: Ints
    target_start: Ints
    target_end: Ints
    request_time: RequestTime = "none"
    target_action: int | None = None
    friends_end: Ints | None = None

    def __len__(self) -> int:
        return len(self.user)

    def select(self, rows: NDArray[np.bool_] | Ints) -> Part:
        """The requests of a (R,) mask, or at some places, in their order."""
        columns = ("user", "history_start", "history_end", "target_start", "target_end")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def sample(self, most: int) -> Part:
        """At most so many of the requests, drawn without replacement, always the same ones, in their order."""
        if len(self) <= most:
            return self
        return self.select(np.sort(np.random.default_rng(0).choice(len(self), most, replace=False)))

    def requests(self, data: Histories) -> Histories:
        """The histories that are known, and the time of each request where `request_time` gives it."""
        at = data.time[self.target_start] if data.time is not None and self.request_time == "target" else None
        if data.friends is not None and self.friends_end is not None:
            data = replace(data, friends=data.friends.until(self.friends_end))
        return data.asked(self.user, self.history_start, self.history_end, self.target_start, at)

    def targets(self, data: Histories) -> tuple[Ints, Ints]:
        """(row of the request, position) of every event to predict: two (E,) int64 arrays, request by request."""
        windows = replace(data, start=self.target_start, end=self.target_end, at=None, about={}, friends=None)
        row, position = windows.positions()
        if self.target_action is None:
            return row, position
        wanted = is_action(data, self.target_action)[position]
        return row[wanted], position[wanted]


@dataclass(frozen=True)
class Split:
    """A data set divided. `config` is resolved: cuts in time are filled in.

    Attributes:
        train_end: (U,) int64; user u trains on positions `data.start[u]` to `train_end[u]`.
        too_short: users with too few events to be predicted; they only train.
    """

    config: SplitConfig
    train_end: Ints
    valid: Part
    test: Part
    too_short: int

    def training(self, data: Histories) -> Histories:
        """The training events of every user (no copy), and which of them are targets where not all are.

        Nothing else is known of friends either.
        """
        friends = None if data.friends is None else data.friends.until(self.train_end)
        training = replace(data, end=self.train_end, friends=friends)
        return training if self.valid.target_action is None else with_targets(training, self.valid.target_action)


def groups_of(data: Histories, positions: Ints) -> tuple[Ints, Ints]:
    """First and one-past-last position of the group that each position lies in."""
    if "group" not in data.columns:
        return positions, positions + 1
    group, owner = data.groups(), owner_of(data)
    change = np.flatnonzero((np.diff(group) != 0) | (np.diff(owner) != 0)) + 1
    starts = np.concatenate([[0], change])
    ends = np.concatenate([change, [len(group)]])
    which = np.searchsorted(starts, positions, side="right") - 1
    return starts[which], ends[which]


def owner_of(data: Histories) -> Ints:
    """User of every position of the columns."""
    rows, positions = data.positions()
    owner = np.zeros(len(data.item), dtype=np.int64)
    owner[positions] = rows
    return owner


def part_of(data: Histories, user: Ints, history_end: Ints, target_start: Ints, target_end: Ints) -> Part:
    """Requests whose histories begin with their users' first events."""
    return Part(user, data.start[user], history_end, target_start, target_end)
