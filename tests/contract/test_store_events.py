"""Events in, histories out: what every event store must do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import HOUR, Open, event, items, now, statuses

from onward.serve.store.database import advance
from onward.serve.store.protocol import (
    FUTURE_LIMIT,
    Event,
    EventStore,
    Outcome,
)
from onward.serve.store.sql import open_database


def test_an_event_comes_back_as_it_was_given(store: EventStore) -> None:
    before = now()
    full = Event("e1", "ann", "tea", 1_000, "buy", 2.5, "request-1", "basket-1")
    bare = Event("e2", "ann", "Käse 🧀", None)
    assert store.append([full, bare]) == [Outcome("e1", "stored", 1), Outcome("e2", "stored", 2)]
    (one, two), cursor = store.since(0, 10)
    assert cursor == 2
    assert (one.user, one.item, one.time, one.action, one.value) == ("ann", "tea", 1_000, "buy", 2.5)
    assert (one.id, one.request_id, one.group) == ("e1", "request-1", "basket-1")
    assert (two.item, two.action, two.value, two.request_id, two.group) == ("Käse 🧀", None, None, None, None)
    assert before <= two.time == two.received == one.received <= now()


def test_a_history_is_ordered_by_time_and_then_by_arrival(store: EventStore) -> None:
    store.append([event(1, item="b", at=2_000), event(2, item="d", at=3_000)])
    store.append([event(3, item="c", at=2_000), event(4, item="a", at=1_000, action="view", value=0.5)])
    history = store.history("ann", 10)
    assert items(store, "ann") == ["a", "b", "c", "d"]
    assert history.times.tolist() == [1_000, 2_000, 2_000, 3_000]
    assert history.seqs.tolist() == [4, 1, 3, 2]
    assert [store.action_names()[key] for key in history.actions.tolist()] == ["view", "", "", ""]
    np.testing.assert_array_equal(history.values, np.array([0.5, np.nan, np.nan, np.nan], np.float32))
    assert items(store, "ann", limit=2) == ["c", "d"]
    assert items(store, "ann", before=3_000) == ["a", "b", "c"]
    assert items(store, "ann", limit=1, before=2_000) == ["a"]
    assert items(store, "bob") == []


def test_histories_of_several_users_come_in_their_order(store: EventStore) -> None:
    store.append([event(1, "ann", "a"), event(2, "bob", "b"), event(3, "bob", "c", value=7.0, at=2_000)])
    found = store.histories(["bob", "nobody", "ann", "bob"], 1)
    assert [len(history) for history in found] == [1, 0, 1, 1]
    assert found[0].values.tolist() == [7.0] == found[3].values.tolist()


def test_an_id_counts_once(store: EventStore, reopen: Open) -> None:
    first = event(1, at=None)
    assert statuses(store.append([first, first])) == ["stored", "duplicate"]
    assert store.append([first]) == [Outcome("event-1", "duplicate", 1)]
    assert statuses(reopen().append([first])) == ["duplicate"]
    assert len(store.history("ann", 10)) == 1


def test_an_id_with_another_body_is_a_conflict_of_that_event_alone(store: EventStore) -> None:
    store.append([event(1)])
    outcomes = store.append([event(1, item="milk"), event(2), event(1), event(2, at=2_000)])
    assert statuses(outcomes) == ["conflict", "stored", "duplicate", "conflict"]
    assert "another content" in (outcomes[0].reason or "")
    assert items(store, "ann") == ["tea", "tea"]


def test_every_part_of_an_event_is_of_its_body(store: EventStore) -> None:
    whole = event(1, action="buy", value=2.5, request_id="r1", group="b1", features={"device": "tv"})
    others: list[dict[str, object]] = [
        {"user": "bob"}, {"item": "milk"}, {"time": 1_001}, {"time": None}, {"action": "view"}, {"action": None},
        {"value": 2.0}, {"value": None}, {"request_id": "r2"}, {"request_id": None}, {"group": "b2"}, {"group": None},
        {"features": {"device": "pc"}}, {"features": {}},
    ]  # fmt: skip
    assert statuses(store.append([whole, whole])) == ["stored", "duplicate"]
    for other in others:
        assert statuses(store.append([replace(whole, **other)])) == ["conflict"], other  # type: ignore[arg-type]
    assert {name for other in others for name in other} == {field.name for field in fields(Event)} - {"id"}
    assert statuses(store.append([whole])) == ["duplicate"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"id": ""}, "id is empty"),
        ({"user": ""}, "user is empty"),
        ({"item": "a\0b"}, "item holds a NUL character"),
        ({"user": "\ud800"}, "user is not valid Unicode"),
        ({"item": "é" * 513}, "item has 1026 bytes"),
        ({"action": ""}, "action is empty"),
        ({"value": float("nan")}, "value is nan"),
        ({"value": float("inf")}, "value is inf"),
        ({"time": -(2**63)}, "too long ago"),
    ],
)
def test_an_event_that_cannot_be_stored_is_rejected_alone(
    store: EventStore, wrong: dict[str, object], said: str
) -> None:
    values: dict[str, object] = {"id": "x", "user": "ann", "item": "tea", "time": 1_000, **wrong}
    outcomes = store.append([event(1), Event(**values), event(2)])  # type: ignore[arg-type]
    assert statuses(outcomes) == ["stored", "rejected", "stored"]
    assert said in (outcomes[1].reason or "")


def test_a_time_more_than_five_minutes_ahead_is_rejected(store: EventStore) -> None:
    assert FUTURE_LIMIT == 5 * HOUR // 60
    ahead = [event(1, at=now() + FUTURE_LIMIT - HOUR // 60), event(2, at=now() + FUTURE_LIMIT + HOUR // 60)]
    outcomes = store.append(ahead)
    assert statuses(outcomes) == ["stored", "rejected"]
    assert "ahead of the server's clock" in (outcomes[1].reason or "")
    assert statuses(store.append([event(2, at=now())])) == ["stored"], "a rejected event leaves its id free"


def test_an_acknowledged_event_is_seen_by_every_other_connection(store: EventStore, reopen: Open) -> None:
    other = reopen()
    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 200):
            store.append([event(number, at=number)])
            lengths = pool.map(lambda reader: len(reader.history("ann", 1_000)), [other, store, other, store])
            assert list(lengths) == [number] * 4


def test_many_threads_append_and_each_gets_its_own_outcomes(store: EventStore, reopen: Open) -> None:
    stores = [store, reopen()]

    def send(worker: int) -> None:
        for number in range(worker * 100, worker * 100 + 25):
            outcomes = stores[worker % 2].append([event(number, f"user-{worker}", at=number), event(9_999, "all")])
            assert [outcome.id for outcome in outcomes] == [f"event-{number}", "event-9999"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert [len(store.history(f"user-{worker}", 100)) for worker in range(8)] == [25] * 8
    assert store.stats().events == 8 * 25 + 1


def soon(store: EventStore, one: Event) -> Future[list[Outcome]]:
    future: Future[list[Outcome]] = Future()

    def done(result: list[Outcome] | Exception) -> None:
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    store.append_soon([one], done)
    return future


def test_append_soon_is_done_when_the_events_are_stored(store: EventStore) -> None:
    waiting = [soon(store, event(number)) for number in range(20)]
    assert [statuses(one.result(timeout=10)) for one in waiting] == [["stored"]] * 20
    assert store.append([]) == []


def test_what_one_caller_sends_wrong_fails_that_caller_alone(store: EventStore, url: str) -> None:
    blocker = open_database(url, False)
    with blocker.transaction():  # so that all of these make one group
        first = soon(store, event(0))
        good = [soon(store, event(number)) for number in range(1, 4)]
        bad = soon(store, event(4, value=10**400))
        good.append(soon(store, event(5)))
    blocker.close()
    assert [statuses(one.result(timeout=20)) for one in (first, *good)] == [["stored"]] * 5
    with pytest.raises(OverflowError):
        bad.result(timeout=20)


def test_a_transaction_that_began_first_keeps_later_events_waiting(store: EventStore, url: str) -> None:
    store.append([event(1)])
    other = open_database(url, False)
    with other.transaction() as slow:
        seq = advance(slow, "seq")
        later = soon(store, event(2))
        with pytest.raises(TimeoutError):  # it would overtake, and a reader that saw it would skip what is slow
            later.result(timeout=0.3)
        assert [one.seq for one in store.since(0, 10)[0]] == [1]
    other.close()
    assert later.result(timeout=10)[0].seq == seq + 1 == 3


def test_since_never_skips_an_event_beside_overlapping_writers(store: EventStore, reopen: Open) -> None:
    writers = [store, reopen(), reopen()]
    reader = reopen()
    done = threading.Event()

    def write(worker: int) -> None:
        for number in range(60):
            writers[worker].append([event(worker * 1_000 + number * 3 + part) for part in range(3)])

    def follow() -> list[int]:
        cursor, seqs = 0, list[int]()
        while True:
            last_round = done.is_set()
            found, cursor = reader.since(cursor, 50)
            seqs += [one.seq for one in found]
            if last_round and not found:
                return seqs

    with ThreadPoolExecutor(4) as pool:
        following = pool.submit(follow)
        list(pool.map(write, range(3)))
        done.set()
        assert following.result(timeout=60) == list(range(1, 541))


def test_seen_looks_at_the_whole_history(store: EventStore) -> None:
    store.append([event(number, item=f"item-{number % 7}", at=number, action="view") for number in range(1, 60)])
    store.append([event(100, item="bought", at=50, action="buy")])
    names = dict(store.items_after(0))

    def seen(**filters: object) -> set[str]:
        found = store.seen("ann", **filters)  # type: ignore[arg-type]
        assert found.dtype == np.int64
        assert len(set(found.tolist())) == len(found)
        return {names[key] for key in found.tolist()}

    assert seen() == {"bought", *(f"item-{number}" for number in range(7))}
    assert seen(since=58) == {"item-2", "item-3"}
    assert seen(actions=["buy"]) == {"bought"}
    assert seen(actions=["buy", "view"], since=59) == {"item-3"}
    assert seen(actions=[]) == set()
    assert seen(before=3) == {"item-1", "item-2"}
    assert seen(actions=["view"], since=50, before=52) == {"item-1", "item-2"}
    assert store.seen("nobody").tolist() == []


def test_item_keys_grow_and_never_change(store: EventStore, reopen: Open) -> None:
    store.append([event(1, item="b"), event(2, item="a")])
    before = store.items_after(0)
    assert sorted(name for _, name in before) == ["a", "b"]
    reopen().append([event(3, item="c"), event(4, item="a")])
    last = max(key for key, _ in before)
    assert store.items_after(last) == [(last + 1, "c")]
    keys = {name: key for key, name in store.items_after(0)}
    assert store.item_keys(["c", "unknown", "a", "c"]).tolist() == [keys["c"], 0, keys["a"], keys["c"]]


def test_popular_counts_recent_events(store: EventStore) -> None:
    store.append([event(number, f"u{number}", f"i{number % 3}", at=number) for number in range(10)])
    names = dict(store.items_after(0))
    assert [(names[key], count) for key, count in store.popular(0, 2)] == [("i0", 4), ("i1", 3)]
    assert [(names[key], count) for key, count in store.popular(8, 5)] == [("i0", 1), ("i2", 1)]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(-5, 5), st.none() | st.floats(width=32)),
        max_size=25,
    )
)
def test_histories_are_those_of_a_list_kept_in_memory(
    store: EventStore, rows: list[tuple[str, str, int, float | None]]
) -> None:
    user_of = {name: f"{name}-{time.perf_counter_ns()}" for name in "abc"}
    kept = [row for row in rows if row[3] is None or np.isfinite(row[3])]
    sent = [
        Event(f"{number}-{user_of[user]}", user_of[user], item, at, None, value)
        for number, (user, item, at, value) in enumerate(rows)
    ]
    for first in range(0, len(sent), 7):
        store.append(sent[first : first + 7])
    names = dict(store.items_after(0))
    for user, name in user_of.items():
        expected = sorted((row for row in kept if row[0] == user), key=lambda row: row[2])[-4:]
        history = store.history(name, 4)
        assert [names[key] for key in history.items.tolist()] == [row[1] for row in expected]
        assert history.times.tolist() == [row[2] for row in expected]
        values = np.array([np.nan if row[3] is None else row[3] for row in expected], np.float32)
        np.testing.assert_array_equal(history.values, values)
