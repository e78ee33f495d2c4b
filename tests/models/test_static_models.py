"""Each static model against a slow, obvious version of its formula, or against another implementation."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from onward.data.catalog import Catalog
from onward.data.sequences import Histories
from onward.errors import ConfigError, MissingExtraError, TrainingError
from onward.models.base import Items, Recommender, build, make_items
from onward.models.matrix import prune
from onward.models.registry import model_class

DAY = 86_400_000_000
V = 9


def random_lists(seed: int, users: int = 30) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(1, V + 1, random.integers(1, 8)).tolist() for _ in range(users)]


def learned(name: str, lists: list[list[int]], **config: object) -> Recommender:
    training = Histories.from_lists(lists, V)
    tie_rank = Catalog(pl.DataFrame({"item": [str(i) for i in range(1, V + 1)]})).tie_rank
    model = build(model_class(name), config, make_items(training, tie_rank))
    model.fit(training, 0)
    return model


def scores(model: Recommender, history: list[int]) -> np.ndarray:
    return model.score(Histories.from_lists([history], V))[0].numpy()


@pytest.mark.parametrize("others", [0.0, -np.inf, np.inf])
def test_a_single_score_that_is_no_number_is_refused(others: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = learned("popularity", random_lists(0))
    spoiled = torch.full((1, V + 1), others)
    spoiled[0, 4] = np.nan
    monkeypatch.setattr(model, "score_histories", lambda histories: spoiled)
    with pytest.raises(TrainingError, match="gave NaN scores"):
        scores(model, [1])


# popularity


def timed(half_life: float | None) -> np.ndarray:
    time = np.array([0, 10, 10, 20], dtype=np.int64) * DAY
    columns = {"item": np.array([1, 1, 2, 3], np.int32), "time": time}
    data = Histories(columns, np.array([0]), np.array([4]), 3)
    model = build(
        model_class("popularity"), {"half_life_days": half_life}, make_items(data, np.arange(4, dtype=np.int32))
    )
    model.fit(data)
    return model.score(data)[0, 1:].numpy()


def test_popularity_counts_events() -> None:
    np.testing.assert_allclose(timed(None), np.log1p([2, 1, 1]), rtol=1e-6)


def test_popularity_halves_with_every_half_life_before_the_end_of_training() -> None:
    np.testing.assert_allclose(timed(10.0), np.log1p([0.25 + 0.5, 0.5, 1.0]), rtol=1e-6)


def test_popularity_with_a_half_life_needs_times() -> None:
    with pytest.raises(ConfigError, match=r"half_life_days = 7\.0 needs event times"):
        learned("popularity", [[1]], half_life_days=7)


# random


def test_random_is_uniform_and_changes_with_the_history() -> None:
    n = 2000
    items = Items(np.ones(n + 1, np.int64), np.arange(n + 1, dtype=np.int32))
    model = build(model_class("random"), {}, items)
    model.fit(Histories.from_lists([[1]], n), seed=3)
    drawn = model.score(Histories.from_lists([[1], [2], [1, 1]], n))[:, 1:].numpy()
    for row in drawn:
        assert np.abs(np.histogram(row, 10, (0, 1))[0] - n / 10).max() < 5 * math.sqrt(n / 10)
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.1


# markov


def markov_by_hand(lists: list[list[int]], last: int, backoff: float) -> np.ndarray:
    follow, popular = np.zeros(V + 1), np.zeros(V + 1)
    for history in lists:
        for item in history:
            popular[item] += 1
        for before, after in pairwise(history):
            follow[after] += before == last
    return (follow + backoff * popular / popular.sum()) / (follow.sum() + backoff)


@pytest.mark.parametrize("backoff", [0.5, 10.0])
def test_markov_is_transitions_interpolated_with_popularity(backoff: float) -> None:
    lists = random_lists(1)
    model = learned("markov", lists, backoff=backoff)
    for last in (1, 5, 9):
        np.testing.assert_allclose(scores(model, [3, last])[1:], markov_by_hand(lists, last, backoff)[1:], rtol=1e-5)


def test_markov_after_an_item_that_nothing_followed_is_popularity() -> None:
    model = learned("markov", [[1, 2, 2, 3], [2, 4]])
    np.testing.assert_allclose(scores(model, [4])[1:5], np.array([1, 3, 1, 1]) / 6, rtol=1e-6)


def test_markov_steps_from_every_member_of_a_group_to_every_member_of_the_next() -> None:
    # user 0: {1, 2} then {3} then {4, 5}; user 1 starts afresh with the same group number
    columns = {
        "item": np.array([1, 2, 3, 4, 5, 6, 7], np.int32),
        "group": np.array([0, 0, 1, 2, 2, 2, 3], np.int32),
    }
    data = Histories(columns, np.array([0, 5]), np.array([5, 7]), V)
    model = build(model_class("markov"), {"backoff": 1e-9}, make_items(data, np.arange(V + 1, dtype=np.int32)))
    model.fit(data)

    def after(items: list[int], groups: list[int]) -> np.ndarray:
        request = {"item": np.array(items, np.int32), "group": np.array(groups, np.int32)}
        given_ = Histories(request, np.array([0]), np.array([len(items)]), V)
        return model.score(given_)[0, 1:].numpy()

    np.testing.assert_allclose(after([1], [0]), np.eye(V)[2], atol=1e-6)  # 1 -> 3, never 1 -> 2
    np.testing.assert_allclose(after([3], [0]), (np.eye(V)[3] + np.eye(V)[4]) / 2, atol=1e-6)
    np.testing.assert_allclose(after([6], [0]), np.eye(V)[6], atol=1e-6)
    # of a last group {2, 3} each member speaks, the earlier group doesn't
    np.testing.assert_allclose(after([6, 2, 3], [0, 4, 4]), (np.eye(V)[2] + after([3], [0])) / 2, atol=1e-6)


# neighbours


def similarity_by_hand(
    query: set[int], document: set[int], documents: list[set[int]], kind: str, shrink: float
) -> float:
    common = query & document
    if not common:
        return 0.0
    if kind == "cosine":
        value = len(common) / math.sqrt(len(query) * len(document))
    else:
        used = {column: sum(column in other for other in documents) for column in common}
        mean = sum(map(len, documents)) / sum(1 for other in documents if other)
        length = 1.2 * (1 - 0.75 + 0.75 * len(document) / mean)
        rarity = [math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) for n in used.values()]
        value = sum(idf * 2.2 / (1 + length) for idf in rarity)
    return value * len(common) / (len(common) + shrink)


def popularity_share(lists: list[list[int]]) -> np.ndarray:
    counts = np.bincount([item for history in lists for item in history], minlength=V + 1)
    return 1e-6 * counts / counts.max()


@pytest.mark.parametrize("kind", ["cosine", "bm25"])
@pytest.mark.parametrize("shrink", [0.0, 3.0])
@pytest.mark.parametrize("recency", [0.0, 1.5])
def test_item_neighbours_by_brute_force(kind: str, shrink: float, recency: float) -> None:
    lists, k = random_lists(2), 3
    model = learned("item-knn", lists, similarity=kind, shrinkage=shrink, neighbours=k, recency=recency)
    users_of = [{user for user, history in enumerate(lists) if item in history} for item in range(V + 1)]
    history = [4, 7, 4, 2]
    wanted = np.zeros(V + 1)
    for item in set(history):
        near = {
            other: similarity_by_hand(users_of[item], users_of[other], users_of, kind, shrink)
            for other in range(1, V + 1)
            if other != item
        }
        weight = 1.0
        if recency:
            weight = sum(0.5 ** ((len(history) - 1 - at) / recency) for at, one in enumerate(history) if one == item)
        for other in sorted(near, key=lambda one: (-round(near[one], 9), model.items.tie_rank[one]))[:k]:
            wanted[other] += weight * near[other]
    np.testing.assert_allclose(scores(model, history)[1:], (wanted + popularity_share(lists))[1:], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["cosine", "bm25"])
@pytest.mark.parametrize("shrink", [0.0, 3.0])
def test_user_neighbours_by_brute_force(kind: str, shrink: float) -> None:
    lists, k = random_lists(3), 5
    model = learned("user-knn", lists, similarity=kind, shrinkage=shrink, neighbours=k)
    users = [set(history) for history in lists]
    history = [4, 7, 4, 2]
    near = [similarity_by_hand(set(history), user, users, kind, shrink) for user in users]
    wanted = np.zeros(V + 1)
    for user in sorted(range(len(users)), key=lambda one: (-round(near[one], 9), one))[:k]:
        for item in users[user]:
            wanted[item] += near[user]
    np.testing.assert_allclose(scores(model, history)[1:], (wanted + popularity_share(lists))[1:], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["item-knn", "user-knn"])
def test_similarities_in_small_blocks_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores(learned(name, random_lists(4)), [1, 2, 3])
    monkeypatch.setattr("onward.models.neighbours.BLOCK_ENTRIES", 5)
    assert np.array_equal(scores(learned(name, random_lists(4)), [1, 2, 3]), whole)


def test_items_that_no_neighbour_reaches_come_by_popularity() -> None:
    model = learned("item-knn", [[1, 2], [1, 2], [3], [4], [4], [5], [5], [5]])
    lists = model.recommend(Histories.from_lists([[1]], V), k=4)
    assert lists.items.tolist() == [[2, 5, 4, 3]]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_prune_keeps_the_largest_of_each_row(data: st.DataObject) -> None:
    rows, columns, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    values = st.lists(st.integers(0, 3), min_size=columns, max_size=columns)
    dense = np.array(data.draw(st.lists(values, min_size=rows, max_size=rows)), np.float32)
    ties = np.array(data.draw(st.permutations(range(columns))))
    wanted = np.zeros_like(dense)
    for row in range(rows):
        for column in sorted(np.flatnonzero(dense[row]), key=lambda one: (-dense[row, one], ties[one]))[:k]:
            wanted[row, column] = dense[row, column]
    assert np.array_equal(prune(sparse.csr_array(dense), k, ties).toarray(), wanted)


# EASE


def test_ease_is_the_closed_form() -> None:
    lists = random_lists(5)
    model = learned("ease", lists, regularization=2.0)
    had = np.array([[item in history for item in range(V + 1)] for history in lists], np.float64)
    inverse = np.linalg.inv(had.T @ had + 2.0 * np.eye(V + 1))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(scores(model, [4, 7, 4])[1:], (weights[4] + weights[7])[1:], rtol=1e-4, atol=1e-6)


def test_ease_is_the_best_linear_model_with_a_zero_diagonal() -> None:
    # the definition it solves: each column is a ridge regression on the other columns
    lists = random_lists(6)
    weights = learned("ease", lists, regularization=2.0).state()["weights"].numpy()
    had = np.array([[item in history for item in range(V + 1)] for history in lists], np.float64)
    for item in (1, 4):
        others = np.delete(np.arange(V + 1), item)
        x = had[:, others]
        ridge = np.linalg.solve(x.T @ x + 2.0 * np.eye(V), x.T @ had[:, item])
        np.testing.assert_allclose(weights[others, item], ridge, rtol=1e-3, atol=1e-6)


# ALS


def als(**config: object) -> Recommender:
    pytest.importorskip("implicit", reason="the package implicit is not installed (extra mf)")
    return learned("als", random_lists(7), factors=4, regularization=0.5, alpha=2.0, **config)


def test_als_folds_a_history_in_by_the_normal_equations() -> None:
    model = als()
    items = model.state()["factors"].double().numpy()
    history = [4, 7, 4, 2]
    confidence = np.ones(V + 1)
    for item in history:
        confidence[item] += 2.0
    wanted_items = np.isin(np.arange(V + 1), history).astype(float)
    left = items.T @ np.diag(confidence) @ items + 0.5 * np.eye(4)
    user = np.linalg.solve(left, items.T @ (confidence * wanted_items))
    np.testing.assert_allclose(scores(model, history)[1:], (items @ user)[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:OpenBLAS")
def test_als_ranks_as_implicit_itself_does() -> None:
    model = als()
    from implicit.cpu.als import AlternatingLeastSquares

    other = AlternatingLeastSquares(factors=4, regularization=0.5, alpha=1.0)
    other.item_factors = model.state()["factors"].numpy()
    other.user_factors = np.zeros((1, 4), np.float32)
    history = np.zeros((1, V + 1), np.float32)
    history[0, [4, 7, 2]] = [5.0, 3.0, 3.0]  # 1 + alpha * events of [4, 7, 4, 2]
    found, values = other.recommend(
        0, sparse.csr_matrix(history), N=5, recalculate_user=True, filter_already_liked_items=True, filter_items=[0]
    )
    lists = model.recommend(Histories.from_lists([[4, 7, 4, 2]], V), k=5)
    assert lists.items[0].tolist() == found.tolist()
    np.testing.assert_allclose(lists.scores[0], values, rtol=1e-3, atol=1e-4)


def test_als_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    als()
    assert capfd.readouterr() == ("", "")


def test_als_gives_items_never_seen_no_factors() -> None:
    pytest.importorskip("implicit", reason="the package implicit is not installed (extra mf)")
    factors = learned("als", [[1, 2], [2, 3], [1, 3]], factors=2).state()["factors"]
    assert torch.equal(factors[4:], torch.zeros_like(factors[4:]))
    assert (factors[1:4] != 0).any()


def test_als_without_implicit_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(MissingExtraError, match="'implicit'") as caught:
        learned("als", [[1, 2]])
    assert "onward[mf]" in caught.value.hint


def test_als_answers_without_implicit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = als()
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    again = build(model_class("als"), model.config.model_dump(), model.items)
    again.load_state(model.state())
    assert np.array_equal(scores(again, [1, 2]), scores(model, [1, 2]))
