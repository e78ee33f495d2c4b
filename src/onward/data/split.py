"""Splits: which events train, which are predicted in validation and test, and from what history.

Every protocol trains on a prefix of each user's history, so a split is one position a user and, for each
part, one request a row: the history that is known and the events to predict (ARCHITECTURE.md, Evaluation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from onward.config import Protocol, RequestTime, SplitConfig
from onward.data.sequences import Histories, Ints
from onward.data.targets import action_code, is_action, with_targets
from onward.errors import ConfigError, DataError


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


def split(data: Histories, config: SplitConfig, actions: Sequence[str] = ()) -> Split:
    """Divide the histories of all users.

    Args:
        actions: names of the action codes, for `config.target_action`.

    Raises:
        ConfigError: `time` or a request time of `target` without times, cuts that leave a part empty, or an action
            that the data doesn't have or that nothing is left to predict of.
        DataError: no user is long enough to be predicted.
    """
    if config.refit and config.protocol == "all":
        raise ConfigError("refit has no meaning with protocol 'all'", "leave --refit out")
    if config.last_share is not None and config.protocol != "last":
        raise ConfigError(
            f"split.last_share = {config.last_share} belongs to protocol 'last', and this is '{config.protocol}'",
            "use --protocol last, or leave split.last_share out",
        )
    if config.known_events is not None and config.protocol != "users":
        raise ConfigError(
            f"split.known_events = {config.known_events} belongs to protocol 'users', and this is '{config.protocol}'",
            "use --protocol users, or leave split.known_events out",
        )
    code = None
    if config.target_action is not None:
        code = action_code(config.target_action, actions, "split.target_action")
    made = {
        "last": partial(_last, code=code) if config.last_share is None else _tail,
        "time": _time,
        "users": _users,
        "all": _all,
    }[config.protocol](data, config)
    if code is not None:
        made = _of_action(data, made, code)
    if config.refit:
        made = _refit(data, made)
    if data.time is None:  # nothing says what of a friend came later than a request, but training events are known
        parts = {name: replace(getattr(made, name), friends_end=made.train_end) for name in ("valid", "test")}
        made = replace(made, **parts)
    return _with_request_time(data, made)


def _of_action(data: Histories, made: Split, code: int) -> Split:
    """Only requests for an event of one action."""
    before = np.concatenate([[0], np.cumsum(is_action(data, code))])

    def asked_for(part: Part, name: str) -> Part:
        asked = part.select(before[part.target_end] > before[part.target_start])
        if len(part) and not len(asked):
            raise ConfigError(
                f"no event of the action '{made.config.target_action}' is left to predict in the {name} part",
                "choose another split.target_action, or a larger part",
            )
        return replace(asked, target_action=code)

    return replace(made, valid=asked_for(made.valid, "valid"), test=asked_for(made.test, "test"))


def usual_request_time(protocol: Protocol, timed: bool) -> RequestTime:
    """What models are told where the settings don't say; `timed` is whether the data has times.

    Under `last` nothing, as the literature measures; else the target's time, since serving passes the present.
    """
    return "target" if timed and protocol != "last" else "none"


def _with_request_time(data: Histories, made: Split) -> Split:
    chosen = made.config.request_time or usual_request_time(made.config.protocol, data.time is not None)
    if chosen == "target" and data.time is None:
        raise ConfigError(
            "split.request_time = 'target' needs event times, and this data set has none", "leave it out, or say 'none'"
        )
    return replace(
        made,
        config=made.config.model_copy(update={"request_time": chosen}),
        valid=replace(made.valid, request_time=chosen),
        test=replace(made.test, request_time=chosen),
    )


def _groups_of(data: Histories, positions: Ints) -> tuple[Ints, Ints]:
    """First and one-past-last position of the group that each position lies in."""
    if "group" not in data.columns:
        return positions, positions + 1
    group, owner = data.groups(), _owner(data)
    change = np.flatnonzero((np.diff(group) != 0) | (np.diff(owner) != 0)) + 1
    starts = np.concatenate([[0], change])
    ends = np.concatenate([change, [len(group)]])
    which = np.searchsorted(starts, positions, side="right") - 1
    return starts[which], ends[which]


def _owner(data: Histories) -> Ints:
    """User of every position of the columns."""
    rows, positions = data.positions()
    owner = np.zeros(len(data.item), dtype=np.int64)
    owner[positions] = rows
    return owner


def _part(data: Histories, user: Ints, history_end: Ints, target_start: Ints, target_end: Ints) -> Part:
    return Part(user, data.start[user], history_end, target_start, target_end)


def _last(data: Histories, config: SplitConfig, code: int | None) -> Split:
    nonempty = np.flatnonzero(data.lengths > 0)
    # the newest event, of the target action where there is one, before each position
    newest = np.arange(-1, len(data.item))
    if code is not None:
        newest[1:] = np.maximum.accumulate(np.where(is_action(data, code), newest[1:], -1))
    test = newest[data.end[nonempty]]
    user, test = nonempty[test > data.start[nonempty]], test[test > data.start[nonempty]]
    test_start, test_end = _groups_of(data, test)
    valid = newest[test_start]
    has_valid = valid >= data.start[user]
    user, valid = user[has_valid], valid[has_valid]
    test_start, test_end = test_start[has_valid], test_end[has_valid]
    valid_start, valid_end = _groups_of(data, valid)
    long = valid_start > data.start[user]
    user, test_start, test_end = user[long], test_start[long], test_end[long]
    valid_start, valid_end = valid_start[long], valid_end[long]
    if not len(user):
        wanted = "" if code is None else f", two of them of the action '{config.target_action}',"
        raise DataError(f"protocol 'last' needs a user with three events or more{wanted} and there is none")
    train_end = data.end.copy()
    train_end[user] = valid_start
    validation = _part(data, user, valid_start, valid_start, valid_end)
    testing = _part(data, user, test_start, test_start, test_end)
    return Split(config, train_end, validation, testing, int(len(nonempty) - len(user)))


def _tail(data: Histories, config: SplitConfig) -> Split:
    """Each user's newest share of the events tests, and the same share of the events before them validates.

    As under `time`, the history of a request is what happened strictly earlier, events after the cut included.
    """
    share = config.last_share or 0.0
    user = np.flatnonzero(data.lengths > 0)
    everyone, start = len(user), data.start[user]

    def cut(end: Ints) -> Ints:
        count = np.floor((end - start) * share + 1e-9).astype(np.int64)  # 0.2 of 5 is one event
        first, _ = _groups_of(data, np.minimum(end - count, end - 1))
        return np.where(count > 0, np.maximum(first, start), end)

    test_start = cut(data.end[user])
    valid_start = cut(np.maximum(test_start, start + 1))
    long = (start < valid_start) & (valid_start < test_start) & (test_start < data.end[user])
    user, valid_start, test_start = user[long], valid_start[long], test_start[long]
    if not len(user):
        raise DataError(f"no user has enough events for split.last_share = {share}", "use a larger share")
    train_end = data.end.copy()
    train_end[user] = valid_start
    known_until = _runs(data)[0] if data.time is not None else np.arange(len(data.item), dtype=np.int64)

    def part(first: Ints, end: Ints) -> Part:
        row, chosen = replace(data, start=first, end=end).positions()
        target_start, target_end = _groups_of(data, chosen)
        is_first = target_start == chosen  # one request a group
        row, chosen = row[is_first], chosen[is_first]
        return _part(data, user[row], known_until[chosen], chosen, target_end[is_first])

    valid, test = part(valid_start, test_start), part(test_start, data.end[user])
    return Split(config, train_end, valid, test, everyone - len(user))


def _time(data: Histories, config: SplitConfig) -> Split:
    time = data.time
    if time is None:
        raise ConfigError(
            "protocol 'time' needs event times, and this data set has none", "use --protocol last or --protocol users"
        )
    owner, positions = data.positions()
    valid_from, test_from = _cuts(time[positions], config)
    when = time[positions]
    first_of_time, _ = _runs(data)
    later = when >= valid_from
    train_end = data.start + np.bincount(owner[~later], minlength=len(data))

    def part(low: int, high: int | None) -> Part:
        chosen = positions[(when >= low) & (when < high)] if high is not None else positions[when >= low]
        start, end = _groups_of(data, chosen)
        first = start == chosen  # one request a group, at its first event
        chosen, start, end = chosen[first], start[first], end[first]
        return _part(data, _owner(data)[chosen], first_of_time[chosen], start, end)

    resolved = config.model_copy(update={"valid_from": valid_from, "test_from": test_from})
    valid, test = part(valid_from, test_from), part(test_from, None)
    for name, rows in (("training", int((~later).sum())), ("validation", len(valid)), ("test", len(test))):
        if not rows:
            raise ConfigError(
                f"the time cuts {valid_from} and {test_from} leave the {name} part empty",
                "choose other valid_share and test_share, or --protocol last",
            )
    return Split(resolved, train_end, valid, test, 0)


def _cuts(when: Ints, config: SplitConfig) -> tuple[int, int]:
    ordered = np.sort(when)

    def at(share: float) -> int:
        # 1 - 0.4 - 0.3 falls short of 0.3 by rounding: without the allowance the cut would be one event early
        return int(ordered[min(len(ordered) - 1, int(len(ordered) * share + 1e-9))])

    test_from = config.test_from if config.test_from is not None else at(1 - config.test_share)
    valid_from = config.valid_from if config.valid_from is not None else at(1 - config.test_share - config.valid_share)
    if valid_from >= test_from:
        raise ConfigError(
            f"validation starts at {valid_from}, not before the test at {test_from}",
            "too many events share one time, or the cuts given are in the wrong order; or use --protocol last",
        )
    return valid_from, test_from


def _runs(data: Histories) -> tuple[Ints, Ints]:
    """For every position of the columns: first and one-past-last position of its user's events at that time."""
    assert data.time is not None
    owner = _owner(data)
    change = np.flatnonzero((np.diff(data.time) != 0) | (np.diff(owner) != 0)) + 1
    starts = np.concatenate([[0], change])
    ends = np.concatenate([change, [len(owner)]])
    which = np.repeat(np.arange(len(starts)), ends - starts)
    return starts[which], ends[which]


def _users(data: Histories, config: SplitConfig) -> Split:
    n = len(data)
    n_valid, n_test = max(1, round(n * config.valid_share)), max(1, round(n * config.test_share))
    if n_valid + n_test >= n:
        raise DataError(f"protocol 'users' can't hold out {n_valid} + {n_test} of {n} users")
    order = np.random.default_rng(config.seed).permutation(n)
    held_out = {"test": np.sort(order[:n_test]), "valid": np.sort(order[n_test : n_test + n_valid])}
    train_end = data.end.copy()
    train_end[held_out["test"]] = data.start[held_out["test"]]
    if not config.refit:  # else all of a validation user trains, the first event too
        train_end[held_out["valid"]] = data.start[held_out["valid"]]

    def part(users: Ints) -> Part:
        if config.known_events is not None:
            return _rest(data, users, config.known_events)
        row, positions = data.select(users).positions()
        start, end = _groups_of(data, positions)
        chosen = (start == positions) & (start > data.start[users[row]])
        return _part(data, users[row[chosen]], start[chosen], start[chosen], end[chosen])

    valid, test = part(held_out["valid"]), part(held_out["test"])
    if not len(valid) or not len(test):
        what = "a second event" if config.known_events is None else f"more than {config.known_events} events"
        raise DataError(f"protocol 'users': no held-out user has {what}, so there is nothing to predict")
    predicted = len(np.unique(valid.user)) + len(np.unique(test.user))
    return Split(config, train_end, valid, test, n_valid + n_test - predicted)


def _rest(data: Histories, users: Ints, known: int) -> Part:
    """One request a user: all events after so many, as a set; of a group that would be cut, all members are targets."""
    users = users[data.lengths[users] > known]
    first, _ = _groups_of(data, data.start[users] + known)
    some = first > data.start[users]
    return _part(data, users[some], first[some], first[some], data.end[users[some]])


def _all(data: Histories, config: SplitConfig) -> Split:
    nothing = np.zeros(0, dtype=np.int64)
    empty = Part(nothing, nothing, nothing, nothing, nothing)
    return Split(config, data.end.copy(), empty, empty, 0)


def _refit(data: Histories, made: Split) -> Split:
    """Validation joins the training; there is then no validation part."""
    nothing = np.zeros(0, dtype=np.int64)
    train_end = made.train_end.copy()
    np.maximum.at(train_end, made.valid.user, made.valid.target_end)
    return replace(made, train_end=train_end, valid=made.valid.select(nothing))
