"""The protocols: which events train, and what is asked for of the others (ARCHITECTURE.md, Evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onward.config import SplitConfig
from onward.data.arrays import distinct
from onward.data.requests import Part, Split, groups_of, owner_of, part_of
from onward.data.sequences import Histories, Ints
from onward.data.targets import is_action
from onward.errors import ConfigError, DataError


def by_last_event(data: Histories, config: SplitConfig, code: int | None) -> Split:
    """Protocol `last`: the newest event (of an action, where `code` says one) tests, the one before it validates."""
    nonempty = np.flatnonzero(data.lengths > 0)
    # the newest event, of the target action where there is one, before each position
    newest = np.arange(-1, len(data.item))
    if code is not None:
        newest[1:] = np.maximum.accumulate(np.where(is_action(data, code), newest[1:], -1))
    test = newest[data.end[nonempty]]
    user, test = nonempty[test > data.start[nonempty]], test[test > data.start[nonempty]]
    test_start, test_end = groups_of(data, test)
    valid = newest[test_start]
    has_valid = valid >= data.start[user]
    user, valid = user[has_valid], valid[has_valid]
    test_start, test_end = test_start[has_valid], test_end[has_valid]
    valid_start, valid_end = groups_of(data, valid)
    long = valid_start > data.start[user]
    user, test_start, test_end = user[long], test_start[long], test_end[long]
    valid_start, valid_end = valid_start[long], valid_end[long]
    if not len(user):
        wanted = "" if code is None else f", two of them of the action '{config.target_action}',"
        raise DataError(f"protocol 'last' needs a user with three events or more{wanted} and there is none")
    train_end = data.end.copy()
    train_end[user] = valid_start
    validation = part_of(data, user, valid_start, valid_start, valid_end)
    testing = part_of(data, user, test_start, test_start, test_end)
    return Split(config, train_end, validation, testing, int(len(nonempty) - len(user)))


def by_last_share(data: Histories, config: SplitConfig) -> Split:
    """Each user's newest share of the events tests, and the same share of the events before them validates.

    As under `time`, the history of a request is what happened strictly earlier, events after the cut included.
    """
    share = config.last_share or 0.0
    user = np.flatnonzero(data.lengths > 0)
    everyone, start = len(user), data.start[user]

    def cut(end: Ints) -> Ints:
        count = np.floor((end - start) * share + 1e-9).astype(np.int64)  # 0.2 of 5 is one event
        first, _ = groups_of(data, np.minimum(end - count, end - 1))
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
        target_start, target_end = groups_of(data, chosen)
        is_first = target_start == chosen  # one request a group
        row, chosen = row[is_first], chosen[is_first]
        return part_of(data, user[row], known_until[chosen], chosen, target_end[is_first])

    valid, test = part(valid_start, test_start), part(test_start, data.end[user])
    return Split(config, train_end, valid, test, everyone - len(user))


def by_time(data: Histories, config: SplitConfig) -> Split:
    """Protocol `time`: two instants divide the events of everyone."""
    time = data.time
    if time is None:
        raise ConfigError(
            "protocol 'time' needs event times, and this data set has none", "use --protocol last or --protocol users"
        )
    owner, positions = data.positions()
    when = time[positions]
    valid_from, test_from = _cuts(when, config)
    train_end = data.start + np.bincount(owner[when < valid_from], minlength=len(data))
    valid, test = by_periods(data, [(valid_from, test_from), (test_from, None)])
    resolved = config.model_copy(update={"valid_from": valid_from, "test_from": test_from})
    for name, rows in (("training", int((when < valid_from).sum())), ("validation", len(valid)), ("test", len(test))):
        if not rows:
            raise ConfigError(
                f"the time cuts {valid_from} and {test_from} leave the {name} part empty",
                "choose other valid_share and test_share, or --protocol last",
            )
    return Split(resolved, train_end, valid, test, 0)


def by_periods(data: Histories, periods: Sequence[tuple[int, int | None]]) -> list[Part]:
    """Requests for every event, or group, of some periods, each from what its user did strictly earlier in time.

    Args:
        periods: (first instant, one past the last, or None for no end) of each, microseconds UTC.
    """
    time = data.time
    assert time is not None
    _, positions = data.positions()
    when, owner = time[positions], owner_of(data)
    first_of_time, _ = _runs(data)

    def part(low: int, high: int | None) -> Part:
        chosen = positions[(when >= low) & (when < high)] if high is not None else positions[when >= low]
        start, end = groups_of(data, chosen)
        first = start == chosen  # one request a group, at its first event
        chosen, start, end = chosen[first], start[first], end[first]
        return part_of(data, owner[chosen], first_of_time[chosen], start, end)

    return [part(low, high) for low, high in periods]


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
    owner = owner_of(data)
    change = np.flatnonzero((np.diff(data.time) != 0) | (np.diff(owner) != 0)) + 1
    starts = np.concatenate([[0], change])
    ends = np.concatenate([change, [len(owner)]])
    which = np.repeat(np.arange(len(starts)), ends - starts)
    return starts[which], ends[which]


def by_users(data: Histories, config: SplitConfig) -> Split:
    """Protocol `users`: a share of the users is held out."""
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
        start, end = groups_of(data, positions)
        chosen = (start == positions) & (start > data.start[users[row]])
        return part_of(data, users[row[chosen]], start[chosen], start[chosen], end[chosen])

    valid, test = part(held_out["valid"]), part(held_out["test"])
    if not len(valid) or not len(test):
        what = "a second event" if config.known_events is None else f"more than {config.known_events} events"
        raise DataError(f"protocol 'users': no held-out user has {what}, so there is nothing to predict")
    predicted = len(distinct(valid.user)) + len(distinct(test.user))
    return Split(config, train_end, valid, test, n_valid + n_test - predicted)


def _rest(data: Histories, users: Ints, known: int) -> Part:
    """One request a user: all events after so many, as a set; of a group that would be cut, all members are targets."""
    users = users[data.lengths[users] > known]
    first, _ = groups_of(data, data.start[users] + known)
    some = first > data.start[users]
    return part_of(data, users[some], first[some], first[some], data.end[users[some]])


def all_training(data: Histories, config: SplitConfig) -> Split:
    """Protocol `all`: everything trains."""
    nothing = np.zeros(0, dtype=np.int64)
    empty = Part(nothing, nothing, nothing, nothing, nothing)
    return Split(config, data.end.copy(), empty, empty, 0)
