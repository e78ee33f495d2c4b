"""What a report reads from the dataset: slices against slow counts, examples, and nothing when it is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_helpers import write_dataset, write_run
from report_helpers import EVIL, make_comparison, make_runs

from onward.bundle import load_bundle
from onward.errors import ConfigError, DataError
from onward.evaluate.compare import Comparison, compare
from onward.evaluate.report import write_report
from onward.evaluate.report_examples import HISTORY, best_rank
from onward.evaluate.report_material import Material, gather
from onward.evaluate.report_requests import Asked, find_requests
from onward.evaluate.report_slices import groupings

SECOND, V, U = 1_000_000, 12, 40


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two models under a cut in time, with users of both kinds, new items, and gaps of every size."""
    folder = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(3)
    lists = [((rng.permutation(V)[: rng.integers(3, 12)]) + 1).tolist() for _ in range(U)]
    gaps = [10.0 ** rng.integers(0, 8, len(one)) for one in lists]
    starts = rng.integers(0, 10**7, U)
    times = np.concatenate([start + np.cumsum(gap) for start, gap in zip(starts, gaps, strict=True)])
    users = pl.DataFrame(
        {
            "kind": [["a", "b", None][i % 3] for i in range(U)],
            "age": [float(i) if i else None for i in range(U)],
            "post_code": [f"{i:05}" for i in range(U)],
            "years": [str(20 + i) for i in range(U)],
        }
    )
    items = pl.DataFrame({"item": [f"i{i:03}" for i in range(1, V + 1)], "title": [f"T{i} {EVIL}" for i in range(V)]})
    dataset = write_dataset(folder / "log", lists, V, items=items, users=users, time=(times * SECOND).astype(np.int64))
    runs = [write_run(folder / name, dataset, name, protocol="time") for name in ("item-knn", "popularity")]
    return compare(runs)


@pytest.fixture(scope="module")
def asked(comparison: Comparison) -> Asked:
    return find_requests(comparison, load_bundle(comparison.rows[0].path), None)


@pytest.fixture(scope="module")
def material(comparison: Comparison) -> Material:
    return gather(comparison)


def test_slices_are_those_of_a_slow_count(comparison: Comparison, asked: Asked, material: Material):
    data, part = asked.data, asked.part
    table = comparison.rows[0].evaluation.table
    first_test = asked.split.config.test_from
    assert first_test is not None
    gaps: dict[str, list[float]] = {}
    known: dict[str, list[float]] = {}
    trained_items = {
        int(data.item[p]) for u in range(U) for p in range(int(data.start[u]), int(asked.split.train_end[u]))
    }
    for row in range(len(part)):
        position, value = int(part.target_start[row]), float(table["ndcg@10"][row])
        length = int(part.history_end[row] - part.history_start[row])
        gap = (data.time[position] - data.time[position - 1]) / SECOND if length else -1.0
        bounds = [(0, "no history"), (1, "same moment"), (61, "up to a minute"), (3601, "up to an hour")]
        bounds += [(86_401, "up to a day"), (604_801, "up to a week"), (2_592_001, "up to a month")]
        label = next((name for bound, name in bounds if gap < bound - (bound == 0) * 0.5), "longer")
        gaps.setdefault(label, []).append(value)
        new_user = asked.split.train_end[part.user[row]] == data.start[part.user[row]]
        new_item = int(data.item[position]) not in trained_items
        label = {
            (False, False): "known user and item",
            (True, False): "new user",
            (False, True): "new item",
            (True, True): "new user and item",
        }[bool(new_user), new_item]
        known.setdefault(label, []).append(value)
    shown = {one["key"]: one["buckets"] for one in material.slices}
    for key, wanted in (("gap", gaps), ("known", known)):
        assert len(wanted) > 1
        found = {bucket["label"]: bucket for bucket in shown[key]}
        assert {name: bucket["requests"] for name, bucket in found.items()} == {
            name: len(values) for name, values in wanted.items()
        }
        for name, values in wanted.items():
            estimate = found[name]["estimates"][0]
            assert estimate["value"] == pytest.approx(np.mean(values))
            assert estimate["low"] <= estimate["value"] <= estimate["high"]


def test_users_are_grouped_by_what_groups_them(asked: Asked):
    found = {one.column: one for one in groupings(asked)}
    kind, users = found["Kind"], asked.dataset.users["kind"].gather(asked.part.user)
    assert [kind.labels[bucket] for bucket in kind.bucket] == [user or "missing" for user in users]
    assert "Post code" not in found  # a value a user
    ages = asked.dataset.users["age"].gather(asked.part.user)
    for bucket, age in zip(found["Age"].bucket, ages, strict=True):
        label = found["Age"].labels[bucket]
        if age is None:
            assert label == "missing"
        else:
            low, high = (float(end) for end in label.removeprefix("above ").replace(", to ", "–").split("–"))
            assert low <= age <= high
            assert age > low or not label.startswith("above")
    sizes = np.bincount(found["Age"].bucket)
    assert len(found["Years"].labels) == 5  # numbers written as text are numbers
    assert sizes[:4].min() > len(asked.part) / 8


def test_examples_are_the_largest_differences_one_a_user(comparison: Comparison, material: Material):
    candidates = comparison.protocol["candidate_items"]
    users = comparison.rows[0].evaluation.table["user"].to_numpy()
    mine, theirs = (best_rank(row.evaluation.table, candidates) for row in comparison.rows)
    labels = [row.label for row in comparison.rows]
    assert len(material.examples) == 2
    for group, ratio, (winner, loser) in zip(
        material.examples, (theirs / mine, mine / theirs), (labels, labels[::-1]), strict=True
    ):
        assert group["title"] == f"{winner} ahead of {loser}"
        largest = sorted((ratio[users == user].max() for user in set(users)), reverse=True)
        shown = [ratio[users == one["user"]].max() for one in group["examples"]]
        assert shown == pytest.approx(largest[: len(shown)])
        assert len({one["user"] for one in group["examples"]}) == len(shown) > 0


def test_an_example_tells_history_target_and_lists(comparison: Comparison, asked: Asked, material: Material):
    titles = asked.dataset.catalog.titles
    for group in material.examples:
        for one in group["examples"]:
            assert [len(shown["items"]) for shown in one["lists"]] <= [10, 10]
            for place, shown in enumerate(one["lists"]):
                rank = one["targets"][0]["ranks"][place]
                hits = [number for number, item in enumerate(shown["items"], 1) if item["hit"]]
                if rank.startswith("rank") and "tied" not in rank:
                    number = int(rank.removeprefix("rank ").replace(",", ""))
                    assert hits == ([number] if number <= 10 else [])
                assert {item["title"] for item in shown["items"]} <= set(titles)
            user = int(one["user"].removeprefix("u"))
            rows = np.flatnonzero(asked.part.user == user)
            histories = [
                [titles[item - 1] for item in asked.data.item[asked.part.history_start[r] : asked.part.history_end[r]]]
                for r in rows
            ]
            newest = [history[::-1][:HISTORY] for history in histories]
            assert [event["title"] for event in one["history"]] in newest


def test_titles_never_become_markup(comparison: Comparison, tmp_path: Path):
    html = write_report(comparison, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<img" not in html
    assert "T1 &lt;img src=x onerror=alert(1)&gt;" in html


def test_examples_can_be_left_out(comparison: Comparison, tmp_path: Path):
    assert gather(comparison, examples=0).examples == []
    html = write_report(comparison, tmp_path / "report.html", examples=0).read_text(encoding="utf-8")
    assert "c1-examples" not in html
    assert "T1 &lt;img" not in html
    with pytest.raises(ConfigError, match="can't be negative"):
        gather(comparison, examples=-1)


def test_a_single_run_shows_rare_hits_and_frequent_misses(tmp_path: Path):
    material = gather(compare(make_runs(tmp_path, names=("popularity",))))
    titles = [group["title"] for group in material.examples]
    assert titles == ["Rare items that it found", "Frequent items that it missed by far"]
    for group, hit in zip(material.examples, (True, False), strict=True):
        for one in group["examples"]:
            assert any(item["hit"] for item in one["lists"][0]["items"]) == hit


def test_without_the_dataset_the_report_says_what_is_missing(tmp_path: Path):
    comparison = make_comparison(tmp_path, audit=False)
    (tmp_path / "log-last").rename(tmp_path / "moved")
    material = gather(comparison)
    assert "is no longer at" in material.missing
    assert (material.slices, material.examples) == ([], [])
    assert [cost.parameters for cost in material.costs] == [row.training["parameters"] for row in comparison.rows]
    assert gather(comparison, tmp_path / "moved").missing == ""
    html = write_report(comparison, tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("is no longer at") == 2


def test_requests_that_changed_are_not_mixed_up(comparison: Comparison):
    bundle = load_bundle(comparison.rows[0].path)
    table = comparison.rows[0].evaluation.table
    wrong = comparison.rows[0].evaluation.with_table(table.reverse())
    other = comparison.model_copy(update={"rows": [comparison.rows[0].model_copy(update={"evaluation": wrong})]})
    with pytest.raises(DataError, match="not those of the evaluation"):
        find_requests(other, bundle, None)
    for field, value in (("cold", "drop"), ("external", True)):
        stated = comparison.model_copy(update={"protocol": comparison.protocol | {field: value}})
        with pytest.raises(DataError, match="the evaluation was"):
            find_requests(stated, bundle, None)
