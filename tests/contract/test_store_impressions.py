"""Lists that were answered, and the clicks on them: what every event store must do."""

from __future__ import annotations

import pytest
from store_helpers import DAY, HOUR, Open, event, impression, now, statuses, wait_for

from onward.errors import StoreError
from onward.serve.settings import ImpressionsConfig
from onward.serve.store.protocol import (
    ClickThrough,
    EventStore,
)
from onward.serve.store.sql import open_database


def test_a_click_counts_once_within_a_day_for_its_own_user(store: EventStore) -> None:
    at = now() - 2 * DAY
    store.log_impressions([impression("r1", at=at), impression("r2", model="m2"), impression("r3", None)], durable=True)
    store.record_shown("r1", "ann", ["tea"])
    store.record_shown("r1", "ann", ["tea"])
    store.append(
        [
            event(1, at=at + 1, request_id="r1"),
            event(2, at=at + 2, request_id="r1"),  # once
            event(3, item="milk", at=at + DAY, request_id="r1"),
            event(4, item="milk", at=at + DAY + 1, request_id="r2"),  # before its list
            event(5, item="milk", at=now(), request_id="r2"),
            event(6, user="bob", at=now(), request_id="r2"),  # another user
            event(7, item="salt", at=now(), request_id="r2"),  # not in the list
            event(8, at=now(), request_id="r9"),  # no such list
            event(9, at=now(), request_id="r3"),  # a list of nobody
            event(10, at=now()),  # no click
        ]
    )
    late = event(11, at=at + DAY + 1, request_id="r1")
    store.append([late])
    clicks = store.click_through(0)
    assert clicks.models == (ClickThrough("m1", 2, 1, 2), ClickThrough("m2", 1, 0, 1))
    assert clicks.unattributed == 7
    assert store.stats().attributed == 3
    assert store.stats().unattributed == 7
    assert store.click_through(now() - DAY).models == (ClickThrough("m1", 1, 0, 0), ClickThrough("m2", 1, 0, 1))


def test_the_time_in_which_a_click_counts_is_a_setting(reopen: Open) -> None:
    store, at = reopen(ImpressionsConfig(click_hours=1)), now() - DAY
    store.log_impressions([impression("r1", at=at)], durable=True)
    store.append([event(1, at=at + HOUR + 1, request_id="r1")])
    assert store.click_through(0).models == (ClickThrough("m1", 1, 0, 0),)
    store.append([event(2, at=at + HOUR, request_id="r1")])
    assert store.click_through(0).models == (ClickThrough("m1", 1, 0, 1),)


def test_a_click_may_come_before_its_list_is_written(store: EventStore, reopen: Open) -> None:
    reopen().append([event(1, at=None, request_id="r1")])
    assert store.click_through(0).unattributed == 1
    store.log_impressions([impression("r1")], durable=False)
    wait_for(lambda: store.click_through(0).models != ())
    assert store.click_through(0).models == (ClickThrough("m1", 1, 0, 1),)
    assert store.click_through(0).unattributed == 0


def test_a_list_that_must_be_kept_is_durable_at_once(store: EventStore, reopen: Open) -> None:
    random = impression("r1", policy="explore", propensities=(0.75, 0.25))
    store.log_impressions([random], durable=True)
    store.log_impressions([random], durable=True)
    assert reopen().stats().impressions == 1


def test_lists_beyond_the_buffer_are_counted_as_lost(reopen: Open) -> None:
    store = reopen(ImpressionsConfig(buffer=3))
    store.log_impressions([impression(f"r{number}") for number in range(10)], durable=False)
    assert store.stats().impressions_lost == 7
    wait_for(lambda: store.stats().impressions == 3)
    wait_for(lambda: reopen().stats().impressions_lost == 7)
    assert store.stats().impressions_lost == 7


def test_a_list_that_cannot_be_stored_is_lost_and_holds_up_nothing(store: EventStore) -> None:
    wrong = [impression("r1", "a\0b"), impression("r2", items=("tea", "\ud800")), impression("", "ann")]
    store.log_impressions([*wrong, impression("r3")], durable=False)
    assert statuses(store.append([event(1)])) == ["stored"]
    wait_for(lambda: store.stats().impressions == 1)
    assert store.stats().impressions_lost == 3


def test_lists_are_sampled_by_their_request(reopen: Open, url: str) -> None:
    lists = [impression(f"request-{number}") for number in range(1_000)]
    first, second = (reopen(ImpressionsConfig(sample=0.2)) for _ in range(2))
    first.log_impressions(lists, durable=False)
    second.log_impressions(lists, durable=False)
    first.close()
    second.close()
    store = reopen(ImpressionsConfig(sample=0.2))  # what must be kept is kept whatever the rate
    kept = store.stats().impressions
    assert 150 < kept < 250, "both workers chose the same lists"
    store.log_impressions(lists, durable=True)
    assert store.stats().impressions == 1_000
    database = open_database(url, False)
    rates = database.read("SELECT sample, count(*) FROM impressions GROUP BY sample ORDER BY sample")
    database.close()
    assert rates == [(0.2, kept), (1.0, 1_000 - kept)], "the rate at which each was logged"


def test_closing_writes_what_is_buffered(store: EventStore, reopen: Open) -> None:
    store.log_impressions([impression("r1")], durable=False)
    store.close()
    assert reopen().stats().impressions == 1
    for call in (lambda: store.append([event(1)]), lambda: store.history("ann", 1), lambda: store.put_items([])):
        with pytest.raises(StoreError, match="closed"):
            call()
