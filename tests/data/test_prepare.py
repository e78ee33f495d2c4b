"""`prepare` on cases small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError, DataError

DAY = 86_400_000_000


def histories(dataset: Dataset) -> dict[str, list[str]]:
    """User id -> item ids, oldest first."""
    data, users = dataset.histories, dataset.users["user"]
    return {
        users[row]: [dataset.catalog.id(int(item)) for item in data.item[data.start[row] : data.end[row]]]
        for row in range(len(data))
    }


def column(dataset: Dataset, name: str, user: str) -> list[float]:
    data, row = dataset.histories, dataset.users["user"].to_list().index(user)
    return data.columns[name][data.start[row] : data.end[row]].tolist()


def made(tmp_path: Path, rows: list[tuple[object, ...]], names: str = "user item time", **options: object) -> Dataset:
    frame = pl.DataFrame(rows, schema=names.split(), orient="row")
    prepare(frame, tmp_path / "dataset", **options)  # type: ignore[arg-type]
    return open_dataset(tmp_path / "dataset")


def test_order_ids_and_facts(tmp_path):
    rows = [(10, 7, 86400 * 3), (9, 7, 86400), (10, 30, 86400 * 2), (10, 8, 86400 * 3), (9, 30, 86400 * 5)]
    dataset = made(tmp_path, rows)
    assert dataset.users["user"].to_list() == ["10", "9"]  # byte order, not number order
    assert dataset.catalog.ids == ["30", "7", "8"]
    assert histories(dataset) == {"10": ["30", "7", "8"], "9": ["7", "30"]}
    assert column(dataset, "time", "10") == [2 * DAY, 3 * DAY, 3 * DAY]
    manifest = dataset.manifest
    assert (manifest.users, manifest.items, manifest.events, manifest.rejected) == (2, 3, 5, 0)
    assert (manifest.time_unit, manifest.time_min, manifest.time_max) == ("s", DAY, 5 * DAY)
    assert manifest.time_sorted is False
    assert manifest.tie_share == pytest.approx(2 / 5)
    assert manifest.roles == {"user": "user", "item": "item", "time": "time"}


def test_sorted_input_is_noticed(tmp_path):
    assert made(tmp_path, [(1, 1, 5), (2, 1, 1), (1, 2, 6)]).manifest.time_sorted is True


def test_equal_times_keep_the_order_of_the_input(tmp_path):
    dataset = made(tmp_path, [("u", name, 100) for name in "zaqbm"] + [("u", "first", 99)])
    assert histories(dataset) == {"u": ["first", *"zaqbm"]}


def test_without_times_the_order_is_the_inputs(tmp_path):
    dataset = made(tmp_path, [("b", "x"), ("a", "y"), ("b", "a")], "user item")
    assert histories(dataset) == {"a": ["y"], "b": ["x", "a"]}
    assert dataset.histories.time is None
    assert dataset.manifest.time_unit is dataset.manifest.tie_share is dataset.manifest.time_sorted is None


def test_a_role_can_be_switched_off(tmp_path):
    dataset = made(tmp_path, [("u", "a", 9), ("u", "b", 3)], time="none")
    assert histories(dataset) == {"u": ["a", "b"]}


def test_actions_and_values(tmp_path):
    rows = [("u", "a", 1, "view", 1.5), ("u", "b", 2, "buy", None), ("u", "a", 3, "view", 2.0)]
    dataset = made(tmp_path, rows, "user item time event rating")
    assert dataset.manifest.actions == ["buy", "view"]
    assert column(dataset, "action", "u") == [1, 0, 1]
    values = dataset.histories.columns["value"]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.array([1.5, np.nan, 2.0], dtype=np.float32))


def test_too_many_actions(tmp_path):
    rows = [("u", "a", number, f"kind-{number}") for number in range(257)]
    with pytest.raises(DataError, match="257 different values"):
        made(tmp_path, rows, "user item time action")


DUPLICATED = [("u", "a", 1, 1.0), ("u", "a", 1, 2.0), ("u", "b", 1, 3.0), ("u", "a", 1, 4.0), ("u", "a", 2, 5.0)]


@pytest.mark.parametrize(
    ("policy", "items", "values"),
    [("keep", "aabaa", [1, 2, 3, 4, 5]), ("first", "aba", [1, 3, 5]), ("last", "baa", [3, 4, 5])],
)
def test_duplicates(tmp_path, policy, items, values):
    dataset = made(tmp_path, DUPLICATED, "user item time value", duplicates=policy)
    assert histories(dataset) == {"u": list(items)}
    assert column(dataset, "value", "u") == values
    assert dataset.manifest.duplicate_rows == 2


def test_duplicates_as_an_error_name_one(tmp_path):
    with pytest.raises(DataError, match=r"user 'u' has item 'a' more than once at 1970-01-01 00:00:01 UTC, and .* 1 "):
        made(tmp_path, DUPLICATED, "user item time value", duplicates="error")


def test_another_action_is_no_duplicate(tmp_path):
    dataset = made(tmp_path, [("u", "a", 1, "view"), ("u", "a", 1, "buy")], "user item time action", duplicates="error")
    assert dataset.manifest.events == 2


def test_baskets_become_groups(tmp_path):
    rows = [
        ("u", "milk", 50, "B2"),
        ("u", "rye", 10, "B1"),
        ("u", "jam", 40, "B2"),  # B2 starts at 40
        ("u", "oil", 45, None),  # no basket: a group of its own
        ("v", "rye", 10, "B1"),  # the same basket number of another user
        ("u", "egg", 12, "B1"),
    ]
    dataset = made(tmp_path, rows, "user item time basket_id")
    assert histories(dataset) == {"u": ["rye", "egg", "milk", "jam", "oil"], "v": ["rye"]}
    assert column(dataset, "group", "u") == [0, 0, 1, 1, 2]
    assert column(dataset, "time", "u") == [10e6, 10e6, 40e6, 40e6, 45e6]
    assert column(dataset, "group", "v") == [0]


def test_baskets_without_times(tmp_path):
    rows = [("u", "a", "B"), ("u", "b", "C"), ("u", "c", "B")]
    dataset = made(tmp_path, rows, "user item basket")
    assert histories(dataset) == {"u": ["a", "c", "b"]}
    assert column(dataset, "group", "u") == [0, 0, 1]


def test_equal_times_become_groups_when_asked(tmp_path):
    dataset = made(tmp_path, [("u", "a", 1), ("u", "b", 1), ("u", "c", 2), ("v", "a", 2)], group_ties=True)
    assert column(dataset, "group", "u") == [0, 0, 1]
    assert column(dataset, "group", "v") == [0]


def test_k_core_is_iterated_and_ids_are_numbered_anew(tmp_path):
    # d is rare; without it user w is too short; without w item c is rare; a and b of u and v stay
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "c"), ("w", "c"), ("w", "d")]
    rows = [(user, item, at) for at, (user, item) in enumerate(rows)]
    dataset = made(tmp_path, rows, min_user_events=2, min_item_events=2)
    assert histories(dataset) == {"u": ["a", "b"], "v": ["a", "b"]}
    assert dataset.catalog.ids == ["a", "b"]
    assert dataset.manifest.filters == {"min_user_events": 2, "min_item_events": 2}
    assert any("3 events are left out" in said for said in dataset.manifest.decisions)


def test_min_length_is_applied_once(tmp_path):
    rows = [("u", "a", 1), ("u", "b", 2), ("v", "a", 3)]
    dataset = made(tmp_path, rows, min_length=2)
    assert histories(dataset) == {"u": ["a", "b"]}


def test_filters_that_leave_nothing(tmp_path):
    with pytest.raises(DataError, match="leave none of the 1 events"):
        made(tmp_path, [("u", "a", 1)], min_user_events=2)
    assert not (tmp_path / "dataset").exists()


def test_repeats_before_the_cut_decide_what_may_come_again(tmp_path):
    # ten events: the cut is the ninth's time; among the first eight, one of user u repeats
    rows = [("u", item, at) for at, item in enumerate("abcadefghh")]
    dataset = made(tmp_path, rows)
    assert dataset.manifest.repeat_share == pytest.approx(1 / 8)
    assert dataset.manifest.seen == "include"


def test_repeats_after_the_cut_do_not_decide(tmp_path):
    dataset = made(tmp_path, [("u", item, at) for at, item in enumerate("abcdefghaa")])
    assert (dataset.manifest.repeat_share, dataset.manifest.seen) == (0.0, "exclude")


def test_repeats_without_times_leave_out_the_last_two(tmp_path):
    # u trains on a b a, v (too short to be tested) on both of its events
    dataset = made(tmp_path, [*[("u", item) for item in "abaab"], ("v", "c"), ("v", "c")], "user item")
    assert dataset.manifest.repeat_share == pytest.approx(2 / 5)


def test_a_basket_with_an_item_twice_is_no_repeat(tmp_path):
    rows = [("u", "a", 1, "B"), ("u", "a", 1, "B"), *[("u", f"x{at}", at, f"C{at}") for at in range(2, 20)]]
    assert made(tmp_path, rows, "user item time basket").manifest.seen == "exclude"


def test_rejected_rows_are_kept_with_their_reason(tmp_path):
    rows = [("u", "a", "2024-01-01")] * 400
    rows += [(None, "a", "2024-01-01"), ("u", "", "2024-01-01"), ("u", "a", "soon"), ("u", "a", None)]
    dataset = made(tmp_path, rows)
    rejected = pl.read_parquet(dataset.segment / "rejected.parquet")
    assert rejected.rows() == [
        ("frame 1", 401, "missing user", None),
        ("frame 1", 402, "missing item", ""),
        ("frame 1", 403, "unreadable time", "soon"),
        ("frame 1", 404, "missing time", None),
    ]
    assert (dataset.manifest.events, dataset.manifest.rejected) == (400, 4)


def test_blank_lines_are_noted_but_no_fault(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,colour\n1,2,red\n\n3,4,\n,,blue\n\n")
    dataset = prepare(tmp_path / "log.csv", tmp_path / "dataset")
    assert histories(dataset) == {"1": ["2"], "3": ["4"]}
    rejected = pl.read_parquet(dataset.segment / "rejected.parquet")
    assert rejected["row"].to_list() == [2, 4, 5]
    assert rejected["reason"].unique().to_list() == ["blank row"]


def test_more_than_one_in_a_hundred_is_an_error_unless_allowed(tmp_path):
    rows = [("u", "a", 1)] * 98 + [(None, "a", 1), (None, "b", 1)]
    with pytest.raises(DataError, match=r"2 of 100 rows \(2.0%\) can't be used: 2 × missing user \(frame 1 row 99"):
        made(tmp_path, rows)
    assert made(tmp_path, rows, allow_rejected=True).manifest.events == 98


def test_nothing_usable_is_an_error_even_when_allowed(tmp_path):
    with pytest.raises(DataError, match=r"100\.0%"):
        made(tmp_path, [(None, "a", 1)], allow_rejected=True)


def test_several_inputs_follow_each_other(tmp_path):
    first = pl.DataFrame({"user": ["u"], "item": ["a"]})
    second = pl.DataFrame({"user": ["u"], "item": ["b"]})
    assert histories(prepare([first, second], tmp_path / "one")) == {"u": ["a", "b"]}
    assert histories(prepare([second, first], tmp_path / "two")) == {"u": ["b", "a"]}


def test_item_and_user_features(tmp_path):
    log = pl.DataFrame({"user": [1, 1, 2], "item": [10, 20, 30]})
    items = tmp_path / "items.csv"
    items.write_text("item_id,title,genres,year,zip\n20,B,Drama|War,1999,02139\n10,A,Drama,2001,10001\n99,Z,,,\n")
    users = pl.DataFrame({"user": [2], "age": [33]})
    dataset = prepare(log, tmp_path / "dataset", items=items, users=users)
    assert dataset.catalog.frame.rows() == [
        ("10", "A", ["Drama"], 2001, "10001"),
        ("20", "B", ["Drama", "War"], 1999, "02139"),
        ("30", None, None, None, None),
    ]
    assert dataset.users.rows() == [("1", None), ("2", 33)]
    assert dataset.manifest.item_features == {
        "title": "text",
        "genres": "categories",
        "year": "number",
        "zip": "category",
    }
    said = " ".join(dataset.manifest.decisions)
    assert "1 items of items.csv have no events" in said
    assert "1 users with events have no row in frame 1" in said


def test_equal_item_rows_are_one_and_different_ones_an_error(tmp_path):
    log = pl.DataFrame({"user": ["u"], "item": ["a"]})
    same = pl.DataFrame({"item": ["a", "a"], "title": ["A", "A"]})
    assert prepare(log, tmp_path / "one", items=same).catalog.frame.rows() == [("a", "A")]
    other = pl.DataFrame({"item": ["a", "a"], "title": ["A", "B"]})
    with pytest.raises(
        DataError, match="item 'a' has two rows that disagree: column 'title' is 'A' in row 1 and 'B' in row 2"
    ):
        prepare(log, tmp_path / "two", items=other)


def test_the_hash_follows_the_content(tmp_path):
    rows = [("u", "a", 1), ("v", "b", 2)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    first = prepare(frame, tmp_path / "one").manifest.hash
    assert prepare(frame, tmp_path / "two").manifest.hash == first
    frame.write_csv(tmp_path / "log.csv")
    assert prepare(tmp_path / "log.csv", tmp_path / "three").manifest.hash == first
    assert prepare(frame.with_columns(time=pl.col("time") + 1), tmp_path / "four").manifest.hash != first
    assert prepare(frame.with_columns(item=pl.col("item") + "x"), tmp_path / "five").manifest.hash != first
    titled = frame.select("item").with_columns(title=pl.lit("t"))
    assert prepare(frame, tmp_path / "six", items=titled).manifest.hash != first


def test_overwriting_replaces_the_folder_alone_when_asked(tmp_path):
    dataset = made(tmp_path, [("u", "a", 1)])
    prepare(pl.DataFrame({"user": ["v"], "item": ["b"]}), dataset.path, overwrite=True)
    assert histories(open_dataset(dataset.path)) == {"v": ["b"]}
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"duplicates": "some"}, "unknown duplicates policy 'some'"),
        ({"min_length": 0}, "min_length = 0 must be 1"),
        ({"group_ties": True, "group": "item"}, "not both"),
        ({"time": "none", "group_ties": True}, "need times"),
        ({"time": "none", "duplicates": "first"}, "without times"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        made(tmp_path, [("u", "a", 1)], **options)


def test_ml_100k(ml100k, tmp_path):
    dataset = prepare(ml100k, tmp_path / "dataset")
    manifest = dataset.manifest
    assert (manifest.users, manifest.items, manifest.events) == (943, 1682, 100_000)
    assert dataset.catalog.frame["movie_title"][dataset.catalog.ids.index("1")] == "Toy Story"
    assert dataset.catalog.frame["class"].dtype == pl.List(pl.String)
    assert manifest.time_sorted is False
    assert manifest.seen == "exclude"
    assert dataset.histories.columns["value"].min() == 1
    source = pl.read_csv(ml100k / "ml-100k.inter", separator="\t")
    wanted = source.filter(source["user_id:token"] == 196).sort("timestamp:float", maintain_order=True)
    assert histories(dataset)["196"] == wanted["item_id:token"].cast(pl.String).to_list()
