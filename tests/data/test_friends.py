"""Which events of friends are known when, against a slow obvious version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from onward.config import SplitConfig
from onward.data.batches import Steps
from onward.data.friends import FriendEvents, Friends, friends_of, strongest
from onward.data.sequences import Histories
from onward.data.split import split
from onward.evaluate.external import known_only

USERS, ITEMS = 12, 30


def make(seed: int, timed: bool = True, most: int = 3) -> Histories:
    """Histories of 0 to 9 events, times between 0 and 20 with many ties; up to 4 friends each, some users without."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, 10, USERS)
    end = np.cumsum(lengths)
    columns: dict[str, np.ndarray] = {"item": random.integers(1, ITEMS + 1, end[-1]).astype(np.int32)}
    if timed:
        columns["time"] = np.concatenate([np.sort(random.integers(0, 20, length)) for length in lengths])
    pairs = [(u, f) for u in range(USERS) for f in random.permutation(USERS)[: u % 5].tolist() if u != f]
    weights = random.integers(1, 4, len(pairs)).astype(np.float32)
    links = pl.DataFrame({"user": [u for u, _ in pairs], "friend": [f for _, f in pairs], "weight": weights})
    rows, weight = friends_of(strongest(links, 4), USERS)
    friends = Friends(rows, weight, end - lengths, end, most)
    return Histories(columns, end - lengths, end, ITEMS, friends=friends)


def read(events: FriendEvents, moment: int) -> list[list[int]]:
    """Items of each friend that a moment knows anything of."""
    items, bags = events.items.tolist(), [*events.bags.tolist(), len(events.items)]
    windows = [place - 1 for place in events.places[moment].tolist() if place]
    return [items[bags[window] : bags[window + 1]] for window in windows]


def slow(data: Histories, user: int, moment: int | None) -> list[list[int]]:
    assert data.friends is not None
    found = []
    for friend in data.friends.rows[user].tolist():
        if friend < 0:
            continue
        positions = range(int(data.friends.start[friend]), int(data.friends.end[friend]))
        known = [p for p in positions if moment is None or data.columns["time"][p] < moment]
        if known:
            found.append([int(data.item[p]) for p in known[-data.friends.most :]])
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("timed", [True, False])
def test_only_the_newest_events_strictly_before_a_moment_are_known(seed: int, timed: bool) -> None:
    data = make(seed, timed)
    assert data.friends is not None
    random = np.random.default_rng(seed)
    owners, moments = random.integers(0, USERS, 60), random.integers(-1, 22, 60)
    events = data.friends.recent(data.item, data.time, owners, moments if timed else None)
    assert events.places.shape == (60, data.friends.rows.shape[1])
    for number, (owner, moment) in enumerate(zip(owners.tolist(), moments.tolist(), strict=True)):
        assert read(events, number) == slow(data, owner, moment if timed else None)
    assert ((events.weights > 0) == (events.places > 0)).all()


def test_a_window_is_read_once_whoever_asks_for_it() -> None:
    data = make(0)
    assert data.friends is not None
    owners = np.repeat(np.arange(USERS), 50)
    moments = np.tile(np.arange(50), USERS)
    events = data.friends.recent(data.item, data.time, owners, moments)
    friends = {friend for friend in data.friends.rows.ravel().tolist() if friend >= 0}
    # what a friend is known for changes with each time that differs, and then no more
    times = {
        friend: {int(t) for t in data.columns["time"][data.start[friend] : data.end[friend]]} for friend in friends
    }
    assert len(events.bags) == sum(len(different) for different in times.values())


def test_strongest_links_are_kept_and_equal_ones_in_order() -> None:
    links = pl.DataFrame({"user": [0, 0, 0, 2, 2], "friend": [1, 2, 3, 0, 1], "weight": [1.0, 5.0, 1.0, 2.0, 2.0]})
    kept = strongest(links, 2)
    assert kept.rows() == [(0, 2, 5.0), (0, 1, 1.0), (2, 0, 2.0), (2, 1, 2.0)]
    rows, weights = friends_of(kept, 4)
    assert rows.tolist() == [[2, 1], [-1, -1], [0, 1], [-1, -1]]
    assert weights.tolist() == [[5, 1], [0, 0], [2, 2], [0, 0]]


def test_rows_that_are_chosen_bring_their_own_friends() -> None:
    data = make(1)
    chosen = data.select(np.array([4, 3]))
    assert chosen.friends is not None
    events = chosen.friends.recent(chosen.item, chosen.time, np.arange(2), np.array([15, 15]))
    assert [read(events, 0), read(events, 1)] == [slow(data, 4, 15), slow(data, 3, 15)]


def test_items_that_a_model_never_heard_of_are_left_out_of_friends_events_too() -> None:
    data = make(2, timed=False)
    some = known_only(data, 20)
    assert some.friends is not None
    events = some.friends.recent(some.item, None, np.arange(USERS), None)
    for user in range(USERS):
        whole = slow(replace(data, friends=replace(data.friends, most=99)), user, None)
        kept = [[item for item in items if item <= 20][-3:] for items in whole]
        assert read(events, user) == [items for items in kept if items]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("opens", [True, False])
def test_a_training_step_knows_what_friends_did_before_its_target(told: bool, opens: bool) -> None:
    """Where models aren't told when the target came, it is what they did before the step itself."""
    data = make(3)
    rows = np.flatnonzero(data.lengths >= 2)
    batch = Steps(data, "target" if told else "none", opens).train(data.start[rows], data.end[rows] - 1)
    assert batch.friends is not None
    number = 0
    for row in rows.tolist():
        for step in range(int(data.start[row]), int(data.end[row]) - 1):
            moment = int(data.columns["time"][step + told])
            assert read(batch.friends, number) == slow(data, row, moment)
            number += 1
    if opens:
        for row in rows.tolist():
            first = int(data.columns["time"][data.start[row]])
            assert read(batch.friends, number) == (slow(data, row, first) if told else [])
            number += 1
    assert number == len(batch.friends.places)


@pytest.mark.parametrize("protocol", ["last", "time", "users"])
def test_training_knows_nothing_but_training_events_of_friends(protocol: str) -> None:
    data = make(4)
    made = split(data, SplitConfig.parse({"protocol": protocol, "valid_share": 0.2, "test_share": 0.2}))
    training = made.training(data)
    assert training.friends is not None
    assert training.friends.end.tolist() == made.train_end.tolist()


@pytest.mark.parametrize("refit", [False, True])
def test_without_times_requests_know_the_training_events_of_friends_alone(refit: bool) -> None:
    data = make(5, timed=False)
    made = split(data, SplitConfig(protocol="users", valid_share=0.25, test_share=0.25, refit=refit))
    asked = made.test.requests(data)
    assert asked.friends is not None
    assert asked.friends.end.tolist() == made.train_end.tolist()
    assert (made.train_end == data.start).sum() > (data.lengths == 0).sum()  # those held out are not known at all
    timed = make(5)
    made = split(timed, SplitConfig(protocol="last"))
    friends = made.test.requests(timed).friends
    assert friends is not None
    assert friends.end.tolist() == timed.end.tolist()  # the time of the request says what is known
