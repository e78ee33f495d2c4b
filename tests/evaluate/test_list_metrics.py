"""Properties of lists on hand-worked numbers and against slow obvious versions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.data.catalog import Catalog
from onward.data.sequences import Histories
from onward.evaluate import lists, slices
from onward.evaluate.ranking import Ranks

COUNTS = np.array([0, 8, 4, 2, 2, 0])
CANDIDATES = COUNTS > 0
ITEMS = np.array([[1, 2], [1, 3], [2, 0]])


def test_coverage_counts_listed_candidates() -> None:
    assert lists.coverage(ITEMS, CANDIDATES) == 3 / 4
    assert lists.coverage(np.zeros((2, 3), dtype=np.int64), CANDIDATES) == 0


def test_gini_of_equal_and_of_one_for_all() -> None:
    assert lists.gini(np.array([[1, 2], [3, 4]]), CANDIDATES) == pytest.approx(0)
    assert lists.gini(np.array([[1], [1]]), CANDIDATES) == pytest.approx(3 / 4)  # (n - 1) / n
    # counts 2, 2, 1, 0: mean absolute difference over twice the mean
    counts = [2, 2, 1, 0]
    expected = sum(abs(a - b) for a in counts for b in counts) / (2 * 16 * 1.25)
    assert lists.gini(ITEMS, CANDIDATES) == pytest.approx(expected)
    assert lists.gini(np.zeros((1, 2), dtype=np.int64), CANDIDATES) == 0


def test_novelty_is_self_information_in_bits() -> None:
    # shares 1/2, 1/4, 1/8: one, two and three bits
    assert lists.novelty(ITEMS, COUNTS) == pytest.approx((1 + 2 + 1 + 3 + 2) / 5)


def test_popularity_lift_compares_lists_with_histories() -> None:
    histories = Histories.from_lists([[3, 4], [1], []], 5)
    # lists: means 6, 5, (4); histories: means 2, 8; the empty one doesn't count
    assert lists.popularity_lift(ITEMS, histories, COUNTS) == pytest.approx(11 / 10 - 1)
    same = Histories.from_lists([[1, 2], [1, 3], [2]], 5)
    assert lists.popularity_lift(ITEMS, same, COUNTS) == pytest.approx(0)


GENRES = pl.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "title": ["A", "B", "C", "D"],
        "genre": [["x", "y"], ["y", "z"], [], ["x"]],
        "colour": ["red", "red", "blue", "blue"],
    }
)


def test_diversity_is_the_mean_jaccard_distance() -> None:
    name, features = lists.feature_sets(Catalog(GENRES))
    assert name == "genre"
    # a b: 1 of 3 in common; a d: 1 of 2; b d: none; c with anything: 1
    assert lists.diversity(np.array([[1, 2]]), features) == pytest.approx(2 / 3)
    assert lists.diversity(np.array([[1, 2, 4]]), features) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert lists.diversity(np.array([[1, 2], [3, 4], [2, 0]]), features) == pytest.approx((2 / 3 + 1) / 2)
    assert lists.diversity(np.array([[1, 0]]), features) == 0


@given(st.lists(st.permutations([0, 0, 1, 2, 3, 4]), min_size=1, max_size=6))
@settings(deadline=None)
def test_diversity_against_sets(rows: list[list[int]]) -> None:
    items = np.array([[item for item in row[:4] if item] + [0] * row[:4].count(0) for row in rows])
    _, features = lists.feature_sets(Catalog(GENRES))
    sets = [set(), *(set(genres) for genres in GENRES["genre"].to_list())]

    def distance(a: int, b: int) -> float:
        union = sets[a] | sets[b]
        return 1 - len(sets[a] & sets[b]) / len(union) if union else 0.0

    found = []
    for row in items.tolist():
        pairs = [distance(a, b) for a, b in itertools.combinations([i for i in row if i], 2)]
        found += [sum(pairs) / len(pairs)] if pairs else []
    assert lists.diversity(items, features) == pytest.approx(sum(found) / len(found) if found else 0)


def test_categories_serve_where_there_are_no_sets_and_titles_never() -> None:
    many = pl.DataFrame(
        {
            "item": [str(i) for i in range(20)],
            "title": ["t"] * 20,
            "note": [f"n{i}" for i in range(20)],
            "kind": ["a", "b"] * 10,
        }
    )
    name, features = lists.feature_sets(Catalog(many))
    assert name == "kind"
    assert features.shape == (21, 2)
    assert lists.feature_sets(Catalog(many.drop("kind"))) is None


def test_history_lengths_fall_into_their_buckets() -> None:
    bucket, labels = slices.length_buckets(np.array([0, 1, 4, 5, 9, 10, 19, 20, 49, 50, 99, 100, 5000]))
    named = [labels[b] for b in bucket]
    assert (
        named == ["0", "1-4", "1-4", "5-9", "5-9", "10-19", "10-19", "20-49", "20-49", "50-99", "50-99"] + ["100+"] * 2
    )


def test_popularity_bands_are_thirds_of_the_training_events() -> None:
    counts = np.array([0, 10, 5, 5, 4, 3, 2, 1, 0])
    bands = [slices.POPULARITY[b] for b in slices.popularity_bands(counts)]
    # 30 events: 10 are the head, 10 to 20 the middle, the rest the tail
    assert bands == ["cold", "head", "middle", "middle", "tail", "tail", "tail", "tail", "cold"]
    assert [slices.POPULARITY[b] for b in slices.popularity_bands(np.array([0, 2, 2]))] == ["cold", "head", "head"]


def test_a_request_is_in_the_band_of_its_most_popular_target() -> None:
    counts = np.array([0, 10, 5, 5, 4, 3, 2, 1, 0])
    request, item = np.array([0, 1, 1, 2, 3]), np.array([1, 7, 2, 8, 12])
    nothing = np.zeros(5, dtype=np.int64)
    ranks = Ranks(request, item, nothing, nothing, np.array([1, 2, 1, 1]), nothing > 0, nothing > 0)
    assert [slices.POPULARITY[b] for b in slices.target_bands(ranks, counts)] == ["head", "middle", "cold", "cold"]


def test_novelty_of_a_rare_item_is_larger() -> None:
    assert lists.novelty(np.array([[4]]), COUNTS) == math.log2(8) > lists.novelty(np.array([[1]]), COUNTS)


def test_requests_by_the_action_of_their_targets() -> None:
    row, code = np.array([0, 1, 1, 2, 2]), np.array([1, 0, 0, 0, 1])
    bucket, labels = slices.target_actions(row, code, 3, ["view", "buy"])
    assert [labels[number] for number in bucket] == ["buy", "view", "several"]
