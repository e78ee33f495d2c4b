"""The auditor on logs small enough to count by hand: each leak planted, and the same log without it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onward.config import SplitConfig
from onward.data.audit import Audit, audit, audit_split
from onward.data.audit.auditor import id_ranks
from onward.data.audit.findings import run_sizes
from onward.data.audit.shifts import js_distance, top_overlap
from onward.data.catalog import Catalog
from onward.data.dataset import Dataset, Manifest
from onward.data.sequences import Histories
from onward.data.split import split
from onward.errors import ConfigError

pl = pytest.importorskip("polars")
DAY = 86_400_000_000
CHECKS = {
    "unsorted_input",
    "tied_times",
    "tied_targets",
    "order_leak",
    "time_overlap",
    "duplicates",
    "filters",
    "cold_items",
    "cold_users",
    "repeats",
    "popularity_drift",
    "short_histories",
}


def log(users, n_items=9, timed=True, groups=None):
    """Histories of lists of (item, day), one list a user."""
    flat = [event for user in users for event in user]
    lengths = np.array([len(user) for user in users])
    columns = {"item": np.array([item for item, _ in flat], np.int32)}
    if timed:
        columns["time"] = np.array([day * DAY for _, day in flat], np.int64)
    if groups is not None:
        columns["group"] = np.array(groups, np.int32)
    end = np.cumsum(lengths)
    return Histories(columns, end - lengths, end, n_items)


def manifest(**values):
    filled = {
        "hash": "0" * 64,
        "users": 1,
        "items": 9,
        "events": 1,
        "rejected": 0,
        "sources": ["events.csv"],
        "roles": {"user": "user", "item": "item"},
        "columns": ["item", "time"],
        "time_sorted": True,
        "unsorted_rows": 0,
        "repeat_share": 0.0,
        "seen": "exclude",
        "duplicates": "keep",
        "duplicate_rows": 0,
        "files": {},
    }
    return Manifest(**(filled | values))


def audited(data, protocol="last", **values) -> Audit:
    made = split(data, SplitConfig(protocol=protocol, valid_share=0.2, test_share=0.2))
    return audit_split(data, made, manifest(**values))


# Two users side by side in time. Under `last` they are tested on days 4 and 5, and all training is on days 1 to 2.
CLEAN = [[(1, 1), (2, 2), (3, 3), (1, 4)], [(2, 1), (1, 2), (4, 3), (3, 5)]]


def test_every_check_reports_and_a_clean_log_has_no_leak():
    found = audited(log(CLEAN))
    assert {finding.code for finding in found.findings} == CHECKS
    for code in ("unsorted_input", "tied_times", "tied_targets", "order_leak", "time_overlap", "duplicates", "filters"):
        assert (found[code].number, found[code].severity, found[code].advice) == (0, "ok", ""), code


def test_time_overlap_counts_users_tested_before_the_training_of_others():
    # user 0 is tested on day 4; user 1 trains on days 1, 5 and 6 and is tested on day 8
    data = log([CLEAN[0], [(2, 1), (1, 5), (4, 6), (5, 7), (3, 8)]])
    found = audited(data)["time_overlap"]
    assert (found.number, found.of, found.share, found.severity) == (1, 2, 0.5, "warning")
    # the median test event is on day 6 (of 4 and 8): no training event is strictly later, of five
    assert found.details["training_events_after_median_test"] == 0
    # day 4 has two of five later training events, day 8 none
    assert found.details["training_events_after_test_mean"] == pytest.approx(0.2)
    assert found.details["median_test"] == "1970-01-07"


def test_time_overlap_share_of_training_after_the_median():
    early = [[(1, 1), (2, 2), (3, 3), (1, 4)]] * 3
    data = log([*early, [(2, 1), (1, 5), (4, 6), (5, 7), (3, 8)]])
    found = audited(data)["time_overlap"]
    assert found.number == 3
    # median test day 4; training events: 3 x 2 early, days 1, 5, 6: two of nine are later
    assert found.details["training_events_after_median_test"] == pytest.approx(2 / 9)


@pytest.mark.parametrize("seed", range(3))
def test_the_time_protocol_never_overlaps(seed):
    generator = np.random.default_rng(seed)
    users = [
        sorted(((int(i), int(d)) for i, d in generator.integers(1, 10, (12, 2))), key=lambda e: e[1]) for _ in range(6)
    ]
    found = audited(log(users), "time")
    assert found["time_overlap"].number == 0
    assert found["tied_targets"].number == 0


def test_tied_times_and_the_test_items_they_decide():
    # user 0: the last two events at one time, so which is the test item is arbitrary; user 1: an early tie only
    data = log([[(1, 1), (2, 2), (3, 4), (4, 4)], [(2, 1), (1, 1), (4, 3), (3, 5)]])
    found = audited(data)
    assert (found["tied_times"].number, found["tied_times"].of, found["tied_times"].share) == (4, 8, 0.5)
    assert found["tied_times"].details["resolution"] == "whole days"
    assert (found["tied_targets"].number, found["tied_targets"].of) == (1, 2)
    assert found["tied_targets"].severity == "warning"


def test_tied_histories_count_under_users():
    users = [[(1, 1), (2, 2), (3, 2)]] * 10
    found = audited(log(users), "users")["tied_targets"]
    assert (found.number, found.of) == (4, 4)  # two test users, each with two targets of one moment


def test_declared_groups_settle_ties():
    # the same log as above with the events of one moment declared as a group
    users = [[(1, 1), (2, 2), (3, 4), (4, 4)], [(2, 1), (1, 1), (4, 3), (3, 5), (5, 6)]]
    found = audited(log(users, groups=[0, 1, 2, 2, 0, 0, 1, 2, 3]))
    assert found["tied_times"].number == 4
    assert {found[code].severity for code in ("tied_times", "tied_targets", "order_leak")} == {"ok"}
    assert found["tied_targets"].number == 0
    assert found.counts["test_events"] == 3  # user 0's whole group, and one event


def test_order_leak_is_found_in_baskets_sorted_by_id():
    baskets = [[(1, 1), (2, 1), (3, 1), (2, 2), (5, 2), (7, 2), (4, 3), (6, 3), (8, 3)]] * 5
    found = audited(log(baskets))["order_leak"]
    assert (found.number, found.of, found.share, found.severity) == (30, 30, 1.0, "warning")
    assert "--group" in found.advice


def test_order_leak_is_found_in_baskets_sorted_downwards():
    baskets = [[(3, 1), (2, 1), (1, 1), (7, 2), (5, 2), (2, 2)]] * 6
    found = audited(log(baskets))["order_leak"]
    assert (found.number, found.of, found.severity) == (0, 24, "warning")


def test_ties_in_random_order_are_no_order_leak():
    generator = np.random.default_rng(0)
    users = [[(int(i), d // 4) for d, i in enumerate(generator.permutation(9) + 1)] for _ in range(200)]
    found = audited(log(users))["order_leak"]
    assert found.of == 200 * 6
    assert found.severity == "ok"


def test_ids_rank_as_numbers_where_they_are():
    numbers = Catalog(pl.DataFrame({"item": ["10", "9", "100", "2"]}))
    assert id_ranks(numbers).tolist() == [0, 3, 2, 4, 1]
    words = Catalog(pl.DataFrame({"item": ["10", "9", "b", "a"]}))
    assert id_ranks(words).tolist() == [0, 1, 2, 4, 3]


def test_duplicates_across_the_split():
    # user 0's test event repeats the row before it; user 1 has a duplicate inside training only
    data = log([[(1, 1), (2, 2), (3, 4), (3, 4)], [(2, 1), (2, 1), (4, 3), (3, 5)]])
    found = audited(data)["duplicates"]
    assert (found.number, found.of, found.severity) == (1, 2, "warning")
    assert found.details["duplicate_events"] == 2


def test_a_duplicate_inside_training_is_a_note_and_a_repeat_at_another_time_is_none():
    inside = audited(log([[(2, 1), (2, 1), (4, 3), (3, 5)]]))["duplicates"]
    assert (inside.number, inside.details["duplicate_events"], inside.severity) == (0, 1, "note")
    repeat = audited(log([[(2, 1), (3, 2), (4, 3), (3, 5)]]))["duplicates"]
    assert (repeat.number, repeat.details["duplicate_events"], repeat.severity) == (0, 0, "ok")


def test_repeats_against_the_seen_decision():
    # user 0's test item 1 was consumed on day 1; user 1's test item 3 is new
    data = log(CLEAN)
    excluded = audited(data)["repeats"]
    assert (excluded.number, excluded.of, excluded.severity) == (1, 2, "warning")
    included = audited(data, seen="include", repeat_share=0.3)["repeats"]
    assert (included.number, included.severity) == (1, "ok")
    new = log([CLEAN[1]])
    assert (audited(new)["repeats"].number, audited(new)["repeats"].severity) == (0, "ok")
    assert audited(new, seen="include")["repeats"].severity == "note"


def test_cold_items():
    # training items are 1 and 2 (days 1 and 2); user 1 is tested on item 3, which only validation has
    found = audited(log(CLEAN))["cold_items"]
    assert (found.number, found.of, found.details["items"], found.severity) == (1, 2, 1, "warning")
    assert "50.0%" in found.effect
    warm = audited(log([CLEAN[0], [(2, 1), (3, 2), (4, 3), (2, 5)]]))["cold_items"]
    assert (warm.number, warm.severity) == (0, "ok")


def test_cold_users_and_empty_histories_under_time():
    # ten events; the last two (20 %) test: user 1's first and second, so one request has no history at all
    data = log([[(i, i) for i in range(1, 9)], [(1, 9), (2, 10)]])
    found = audited(data, "time")
    assert (found["cold_users"].number, found["cold_users"].of) == (1, 1)
    assert found["cold_users"].severity == "warning"
    assert (found["cold_users"].details["empty_histories"], found["cold_users"].details["empty_history_share"]) == (
        1,
        0.5,
    )
    assert found["short_histories"].details["one_event_histories"] == 1
    assert audited(log(CLEAN))["cold_users"].number == 0


def test_users_held_out_are_cold_by_design():
    found = audited(log([[(1, 1), (2, 2), (3, 3)]] * 10), "users")["cold_users"]
    assert (found.number, found.of, found.severity) == (2, 2, "ok")


def test_short_histories():
    found = audited(log([*CLEAN, [(1, 1)], [(2, 1), (3, 2)]]))["short_histories"]
    assert (found.number, found.of, found.severity) == (2, 4, "warning")
    assert audited(log(CLEAN))["short_histories"].severity == "ok"


def test_popularity_drift():
    # training and validation on items 1 and 2, the test on item 3 alone: nothing in common
    apart = log([[(1, d), (2, d + 1), (1, d + 2), (3, d + 3)] for d in range(1, 40)])
    found = audited(apart)["popularity_drift"]
    assert (found.number, found.severity) == (1.0, "warning")
    assert found.details["chance_distance"] < 0.2
    alike = log([[(1 + d % 2, d), (2 - d % 2, d + 1), (1, d + 2), (1 + d % 2, d + 3)] for d in range(1, 101)])
    same = audited(alike)["popularity_drift"]
    assert (same.number, same.severity) == (0.0, "ok")
    assert same.details["top_overlap"] == 1.0


def test_jensen_shannon_by_hand():
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2 2) / 2) / 2 = 0.311278
    assert js_distance(np.array([4, 0]), np.array([1, 1])) ** 2 == pytest.approx(0.3112781)
    assert js_distance(np.array([1, 0]), np.array([0, 3])) == 1.0
    assert js_distance(np.array([2, 6]), np.array([1, 3])) == 0.0
    assert top_overlap(np.array([5, 4, 1, 0]), np.array([0, 9, 8, 1]), 2) == 0.5


def test_filters():
    applied = audited(log(CLEAN), filters={"min_item_events": 5, "min_user_events": 5})["filters"]
    assert (applied.number, applied.severity) == (2, "warning")
    assert "min_item_events = 5" in applied.found
    upstream = audited(log([[(1 + (u + d) % 9, d) for d in range(6)] for u in range(100)]))["filters"]
    assert (upstream.number, upstream.severity) == (0, "note")
    assert upstream.details["fewest_user_events"] == 6


def test_unsorted_input():
    sorted_since = audited(log(CLEAN), unsorted_rows=3)["unsorted_input"]
    assert (sorted_since.number, sorted_since.of, sorted_since.severity) == (3, 8, "note")
    backward = audited(log([[(1, 2), (2, 1), (3, 3), (1, 4)]]))["unsorted_input"]
    assert (backward.number, backward.severity) == (1, "warning")


def test_without_times_the_timed_checks_are_left_out_and_said_so():
    found = audited(log(CLEAN, timed=False), unsorted_rows=None)
    codes = {finding.code for finding in found.findings}
    assert codes == CHECKS - {"tied_times", "tied_targets", "order_leak", "time_overlap", "duplicates"}
    assert found["unsorted_input"].severity == "warning"
    assert "no times" in found["unsorted_input"].found


def test_worst_first_and_json():
    found = audited(log(CLEAN))
    order = [("warning", "note", "ok").index(finding.severity) for finding in found.findings]
    assert order == sorted(order)
    payload = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert payload["format"] == "onward.audit/1"
    assert payload["counts"] == {
        "users": 2,
        "items": 9,
        "events": 8,
        "training_events": 4,
        "test_requests": 2,
        "test_events": 2,
    }
    assert payload["warnings"] + payload["notes"] + found.count("ok") == len(payload["findings"]) == len(CHECKS)
    assert payload["protocol"]["protocol"] == "last"


def test_protocol_all_has_nothing_to_audit(tmp_path):
    with pytest.raises(ConfigError, match="no test part"):
        audit(Dataset(tmp_path, manifest()), SplitConfig(protocol="all"))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=30))
def test_run_sizes_agree_with_a_slow_count(keys):
    left, right = np.array([k[0] for k in keys], int), np.array([k[1] for k in keys], int)
    slow = []
    for at, key in enumerate(keys):
        low = at
        while low and keys[low - 1] == key:
            low -= 1
        high = at
        while high + 1 < len(keys) and keys[high + 1] == key:
            high += 1
        slow.append(high - low + 1)
    assert run_sizes(left, right).tolist() == slow


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=8), min_size=1, max_size=6),
    st.sampled_from(["last", "time"]),
)
def test_counts_agree_with_a_slow_count(users, protocol):
    users = [sorted(user, key=lambda event: event[1]) for user in users] + [[(1, 1), (2, 2), (3, 3), (4, 7), (5, 8)]]
    data = log(users)
    made = split(data, SplitConfig(protocol=protocol, valid_from=7 * DAY, test_from=8 * DAY))
    found = audit_split(data, made, manifest())
    trained = [p for u in range(len(data)) for p in range(data.start[u], made.train_end[u])]
    overlap, duplicate, repeat, cold, targets = set(), 0, 0, 0, 0
    for user, low, high, first, last in zip(
        made.test.user,
        made.test.history_start,
        made.test.history_end,
        made.test.target_start,
        made.test.target_end,
        strict=True,
    ):
        if any(data.time[p] > data.time[first] for p in trained):
            overlap.add(user)
        for p in range(first, last):
            targets += 1
            history = [(data.item[q], data.time[q]) for q in range(low, high)]
            duplicate += (data.item[p], data.time[p]) in history
            repeat += data.item[p] in [item for item, _ in history]
            cold += data.item[p] not in data.item[trained]
    got = [found[code].number for code in ("time_overlap", "duplicates", "repeats", "cold_items")]
    assert got == [len(overlap), duplicate, repeat, cold]
    assert found.counts["test_events"] == targets
