"""Splits against a slow obvious version, event by event, and the properties that keep an evaluation honest."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onward.config import SplitConfig
from onward.data.sequences import Histories
from onward.data.split import Part, Split, split
from onward.data.synthetic import as_histories, chain_events
from onward.errors import ConfigError, DataError

Request = tuple[int, list[int], list[int]]
"""User, positions of the history, positions of the targets."""


def histories(times: list[list[int]], grouped: bool) -> Histories:
    """One event a time, items 1, 2, 3...; with `grouped`, events of one user at one time are a group."""
    lengths = np.array([len(t) for t in times])
    end = np.cumsum(lengths)
    flat = np.array([t for user in times for t in sorted(user)], dtype=np.int64)
    columns = {"item": np.arange(1, len(flat) + 1, dtype=np.int32), "time": flat}
    if grouped:
        owner = np.repeat(np.arange(len(times)), lengths)
        new = np.append(True, (np.diff(flat) != 0) | (np.diff(owner) != 0))[: len(flat)]
        columns["group"] = np.cumsum(new).astype(np.int32)
    return Histories(columns, end - lengths, end, len(flat))


@st.composite
def logs(draw: Callable) -> Histories:
    times = draw(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=12))
    return histories(times, draw(st.booleans()))


def user_groups(data: Histories, user: int) -> list[list[int]]:
    """Positions of one user's events, those of a group together."""
    groups: list[list[int]] = []
    for position in range(data.start[user], data.end[user]):
        together = groups and data.groups()[groups[-1][0]] == data.groups()[position]
        if together:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def flat(groups: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(groups))


def as_requests(part: Part) -> list[Request]:
    rows = zip(part.user, part.history_start, part.history_end, part.target_start, part.target_end, strict=True)
    return [(int(u), list(range(a, b)), list(range(c, d))) for u, a, b, c, d in rows]


def training_positions(data: Histories, made: Split) -> list[int]:
    return made.training(data).positions()[1].tolist()


def slow_last(data: Histories) -> tuple[list[int], list[Request], list[Request]]:
    training, valid, test = [], [], []
    for user in range(len(data)):
        groups = user_groups(data, user)
        if len(groups) < 3:
            training += flat(groups)
            continue
        training += flat(groups[:-2])
        valid.append((user, flat(groups[:-2]), groups[-2]))
        test.append((user, flat(groups[:-1]), groups[-1]))
    return training, valid, test


def slow_time(data: Histories, low: int, high: int) -> tuple[list[int], list[Request], list[Request]]:
    time = data.columns["time"]
    training, valid, test = [], [], []
    for user in range(len(data)):
        mine = range(data.start[user], data.end[user])
        training += [p for p in mine if time[p] < low]
        for group in user_groups(data, user):
            when = time[group[0]]
            request = (user, [p for p in mine if time[p] < when], group)
            if low <= when < high:
                valid.append(request)
            elif when >= high:
                test.append(request)
    return training, valid, test


def check(data: Histories, made: Split, expected: tuple[list[int], list[Request], list[Request]]) -> None:
    assert training_positions(data, made) == expected[0]
    assert as_requests(made.valid) == expected[1]
    assert as_requests(made.test) == expected[2]


@given(logs())
@settings(deadline=None)
def test_last_is_as_told(data: Histories) -> None:
    expected = slow_last(data)
    if not expected[2]:
        with pytest.raises(DataError, match="three events"):
            split(data, SplitConfig(protocol="last"))
        return
    made = split(data, SplitConfig(protocol="last"))
    check(data, made, expected)
    assert made.too_short == len(data) - len(expected[2])


@given(logs(), st.integers(0, 31), st.integers(0, 31))
@settings(deadline=None)
def test_time_is_as_told(data: Histories, low: int, high: int) -> None:
    config = SplitConfig(protocol="time", valid_from=low, test_from=high)
    expected = slow_time(data, low, high)
    if low >= high or not all(expected):
        with pytest.raises(ConfigError, match=r"empty|not before"):
            split(data, config)
        return
    made = split(data, config)
    check(data, made, expected)
    assert made.config == config.model_copy(update={"request_time": "target"})


@given(logs())
@settings(deadline=None)
def test_time_cuts_are_the_same_for_all_and_reproduce_the_split(data: Histories) -> None:
    try:
        made = split(data, SplitConfig(protocol="time", valid_share=0.2, test_share=0.2))
    except ConfigError:
        assume(False)
    low, high = made.config.valid_from, made.config.test_from
    check(data, made, slow_time(data, low, high))
    ordered = np.sort(data.columns["time"])
    # no more than a fifth lies strictly after a cut, nor less than a fifth at or after it
    assert (ordered > high).mean() <= 0.2 + 1e-9 <= (ordered >= high).mean() + 1 / len(ordered)
    check(data, split(data, made.config), slow_time(data, low, high))


def test_default_time_cuts_are_80_10_10() -> None:
    data = histories([[t] for t in range(100)], grouped=False)
    made = split(data, SplitConfig(protocol="time"))
    assert (made.config.valid_from, made.config.test_from) == (80, 90)
    assert [len(training_positions(data, made)), len(made.valid), len(made.test)] == [80, 10, 10]
    thirds = split(data, SplitConfig(protocol="time", valid_share=0.3, test_share=0.4))
    assert (thirds.config.valid_from, thirds.config.test_from) == (30, 60)


@given(logs(), st.integers(0, 3))
@settings(deadline=None)
def test_users_are_held_out_whole(data: Histories, seed: int) -> None:
    config = SplitConfig(protocol="users", seed=seed, valid_share=0.2, test_share=0.2)
    try:
        made = split(data, config)
    except DataError:
        assume(False)
    held_out = [u for u in range(len(data)) if made.train_end[u] == data.start[u]]
    assert len(held_out) == 2 * max(1, round(0.2 * len(data)))
    assert set(made.train_end[[u for u in range(len(data)) if u not in held_out]]) <= set(data.end)
    assert not set(made.valid.user) & set(made.test.user)
    for part in (made.valid, made.test):
        users = sorted(set(part.user.tolist()))
        assert set(users) <= set(held_out)
        groups = {user: user_groups(data, user) for user in users}
        expected = [
            (user, flat(groups[user][:i]), groups[user][i]) for user in users for i in range(1, len(groups[user]))
        ]
        assert as_requests(part) == expected
    short = [user for user in held_out if len(user_groups(data, user)) < 2]
    assert made.too_short == len(short)
    again = split(data, config)
    assert as_requests(again.test) == as_requests(made.test)


def test_a_sample_of_requests_is_in_their_order_and_always_the_same() -> None:
    part = split(as_histories(chain_events(users=50, items=9, length=5, seed=0)), SplitConfig(protocol="last")).test
    some = part.sample(20)
    assert len(np.unique(some.user)) == 20
    assert (np.diff(some.user) > 0).all()
    assert np.array_equal(part.target_start[some.user], some.target_start)
    assert np.array_equal(part.sample(20).user, some.user)
    assert part.sample(50) is part


def test_another_seed_holds_out_other_users() -> None:
    data = histories([[1, 2, 3] for _ in range(50)], grouped=False)
    chosen = [set(split(data, SplitConfig(protocol="users", seed=seed)).test.user) for seed in (0, 1)]
    assert chosen[0] != chosen[1]


@given(logs())
@settings(deadline=None)
def test_all_trains_on_everything(data: Histories) -> None:
    made = split(data, SplitConfig(protocol="all"))
    assert training_positions(data, made) == list(range(len(data.item)))
    assert len(made.valid) == len(made.test) == 0
    with pytest.raises(ConfigError, match="refit"):
        split(data, SplitConfig(protocol="all", refit=True))


@given(logs(), st.sampled_from(["last", "time", "users"]))
@settings(deadline=None, max_examples=200)
def test_nothing_leaks(data: Histories, protocol: str) -> None:
    """No target is trained on, no history reaches its target, and training never passes a cut."""
    try:
        made = split(data, SplitConfig(protocol=protocol, valid_share=0.2, test_share=0.2))
    except (ConfigError, DataError):
        assume(False)
    trained = set(training_positions(data, made))
    time = data.columns["time"]
    targets: list[int] = []
    for part in (made.valid, made.test):
        for user, history, target in as_requests(part):
            assert all(data.start[user] <= p < data.end[user] for p in [*history, *target])
            assert not set(history) & set(target)
            assert not set(target) & trained
            assert {data.groups()[p] for p in history}.isdisjoint({data.groups()[p] for p in target})
            if protocol == "time":
                assert all(time[p] < time[target[0]] for p in history)
            targets += target
    assert len(targets) == len(set(targets))
    if protocol == "time":
        assert all(time[p] < made.config.valid_from for p in trained)


@given(logs(), st.sampled_from(["last", "time", "users"]))
@settings(deadline=None)
def test_refit_adds_the_validation_events_and_leaves_the_test(data: Histories, protocol: str) -> None:
    config = SplitConfig(protocol=protocol, valid_share=0.2, test_share=0.2)
    try:
        plain = split(data, config)
    except (ConfigError, DataError):
        assume(False)
    refit = split(data, config.model_copy(update={"refit": True}))
    assert as_requests(refit.test) == as_requests(plain.test)
    assert len(refit.valid) == 0
    added = set(training_positions(data, refit)) - set(training_positions(data, plain))
    if protocol == "users":  # all of the users that validated, also those with a single event
        tested = set(plain.test.user.tolist())
        rows, positions = data.positions()
        validated = {u for u in range(len(data)) if plain.train_end[u] == data.start[u]} - tested
        assert {p for u, p in zip(rows, positions, strict=True) if u in validated} >= added
        assert {int(p) for u, p in zip(rows, positions, strict=True) if u in set(plain.valid.user)} <= added
    else:
        assert added == {p for _, _, target in as_requests(plain.valid) for p in target}


def test_refit_trains_on_validation_users_with_a_single_event() -> None:
    data = histories([[1]] * 5 + [[1, 2]] * 5, grouped=False)
    for seed in range(20):
        config = SplitConfig(protocol="users", valid_share=0.45, test_share=0.2, seed=seed)
        try:
            plain, refit = split(data, config), split(data, config.model_copy(update={"refit": True}))
        except DataError:
            continue
        held_out = (plain.train_end == data.start).sum()
        assert held_out == 2 + 4 or held_out == 2 + 5
        assert (refit.train_end == data.start).sum() == 2


@given(logs(), st.sampled_from(["last", "time", "users"]))
@settings(deadline=None)
def test_changing_test_events_changes_no_training_count(data: Histories, protocol: str) -> None:
    try:
        made = split(data, SplitConfig(protocol=protocol, valid_share=0.2, test_share=0.2))
    except (ConfigError, DataError):
        assume(False)
    positions = made.test.targets(data)[1]
    item = data.item.copy()
    item[positions] = 1
    changed = Histories({**data.columns, "item": item}, data.start, data.end, data.n_items)
    again = split(changed, made.config)
    assert (again.training(changed).item_counts() == made.training(data).item_counts()).all()


@pytest.mark.parametrize(
    ("protocol", "asked", "told"),
    [
        ("last", None, "none"),
        ("last", "target", "target"),
        ("time", None, "target"),
        ("time", "none", "none"),
        ("users", None, "target"),
        ("all", None, "target"),
    ],
)
def test_whether_the_time_of_the_request_is_told(protocol: str, asked: str | None, told: str) -> None:
    data = histories([list(range(10)) for _ in range(10)], grouped=False)
    made = split(data, SplitConfig(protocol=protocol, request_time=asked))
    assert made.config.request_time == made.test.request_time == made.valid.request_time == told
    at = made.test.requests(data).at
    assert at is None if told == "none" else at.tolist() == data.columns["time"][made.test.target_start].tolist()


def test_data_without_times_tells_none() -> None:
    data = Histories.from_lists([[1, 2, 3]] * 20, 3)
    for protocol in ("last", "users", "all"):
        assert split(data, SplitConfig(protocol=protocol)).config.request_time == "none"
    with pytest.raises(ConfigError, match="request_time = 'target' needs event times"):
        split(data, SplitConfig(protocol="last", request_time="target"))


def test_time_without_times_is_refused() -> None:
    data = Histories.from_lists([[1, 2, 3]], 3)
    with pytest.raises(ConfigError, match="needs event times"):
        split(data, SplitConfig(protocol="time"))


def test_one_time_for_all_events_is_refused() -> None:
    with pytest.raises(ConfigError, match="not before"):
        split(histories([[5, 5, 5], [5, 5]], grouped=False), SplitConfig(protocol="time"))


def test_too_few_users_to_hold_out_is_refused() -> None:
    with pytest.raises(DataError, match="can't hold out 1 \\+ 1 of 2 users"):
        split(histories([[1, 2], [1, 2]], grouped=False), SplitConfig(protocol="users"))


def test_select_keeps_requests_of_a_mask() -> None:
    data = histories([list(range(10)) for _ in range(10)], grouped=False)
    part = split(data, SplitConfig(protocol="time")).test
    mask = np.arange(len(part)) % 3 == 0
    chosen = part.select(mask)
    assert as_requests(chosen) == [request for request, kept in zip(as_requests(part), mask, strict=True) if kept]
    assert chosen.request_time == "target"


def test_a_share_of_each_users_newest_events_tests_and_that_share_of_those_before_validates() -> None:
    data = histories([list(range(n)) for n in (20, 5, 4, 7)], grouped=False)
    made = split(data, SplitConfig(protocol="last", last_share=0.2))
    # 4 of 20 and 3 of the 16 before; 1 of 7 and 1 of 6; 1 of 5 and none of the 4 before; none of 4
    assert made.too_short == 2
    assert made.train_end.tolist() == [13, 25, 29, 34]
    assert as_requests(made.valid) == [(0, list(range(n)), [n]) for n in (13, 14, 15)] + [
        (3, list(range(29, 34)), [34])
    ]
    assert [(user, wanted) for user, _, wanted in as_requests(made.test)] == [(0, [n]) for n in range(16, 20)] + [
        (3, [35])
    ]
    assert made.test.history_end.tolist() == [16, 17, 18, 19, 35]  # events after the cut are known too


def test_under_a_share_the_history_is_strictly_earlier_and_groups_stay_whole() -> None:
    times = [[0, 1, 2, 3, 4, 5, 5, 5, 6, 6]]
    plain = split(histories(times, grouped=False), SplitConfig(protocol="last", last_share=0.3))
    assert [(len(known), wanted) for _, known, wanted in as_requests(plain.test)] == [(5, [7]), (8, [8]), (8, [9])]
    assert [(len(known), wanted) for _, known, wanted in as_requests(plain.valid)] == [(5, [5]), (5, [6])]
    grouped = split(histories(times, grouped=True), SplitConfig(protocol="last", last_share=0.3))
    # the cut moves to the front of the group that it would divide
    assert [(len(known), wanted) for _, known, wanted in as_requests(grouped.test)] == [(5, [5, 6, 7]), (8, [8, 9])]
    assert grouped.train_end.tolist() == [4]


@given(logs(), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_no_shared_event_is_trained_on_and_predicted(data: Histories, share: float) -> None:
    try:
        made = split(data, SplitConfig(protocol="last", last_share=share))
    except DataError:
        return
    for part in (made.valid, made.test):
        assert (part.target_start >= made.train_end[part.user]).all()
        assert (part.history_end <= part.target_start).all()
    assert made.valid.target_end.max() <= len(data.item)
    assert not set(made.valid.target_start) & set(made.test.target_start)


def test_a_share_belongs_to_protocol_last() -> None:
    with pytest.raises(ConfigError, match=r"last_share = 0.2 belongs to protocol 'last'"):
        split(histories([[1, 2, 3]], grouped=False), SplitConfig(protocol="time", last_share=0.2))


@given(logs(), st.integers(1, 4), st.booleans())
@settings(max_examples=60)
def test_known_events_of_a_held_out_user_ask_for_all_others_as_one_set(
    data: Histories, known: int, refit: bool
) -> None:
    config = SplitConfig(protocol="users", valid_share=0.3, test_share=0.3, known_events=known, refit=refit)
    try:
        made = split(data, config)
    except DataError:
        assume(False)
    held_out = set(np.flatnonzero(made.train_end == data.start).tolist())
    assert set(made.test.user.tolist()) <= held_out
    for part in (made.test, made.valid):
        for user, history, targets in as_requests(part):
            groups = user_groups(data, user)
            whole = [group for group in groups if group[-1] < data.start[user] + known]
            assert history == flat(whole)
            assert targets == flat(groups[len(whole) :])
            assert history
            assert targets
    assert len(set(made.test.user.tolist())) == len(made.test)


def test_known_events_belong_to_the_protocol_users() -> None:
    data = histories([[1, 2, 3]], grouped=False)
    with pytest.raises(ConfigError, match=r"split.known_events = 5 belongs to protocol 'users', and this is 'last'"):
        split(data, SplitConfig(protocol="last", known_events=5))
    with pytest.raises(DataError, match="no held-out user has more than 5 events"):
        split(histories([[1], [2], [3]], grouped=False), SplitConfig(protocol="users", known_events=5))
