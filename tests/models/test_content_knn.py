"""Content-kNN against its formula, on small tables."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from onward.data.catalog import Catalog
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Recommender, build, make_items
from onward.models.registry import model_class
from onward.text.encoders import encode_texts

PLACES = [[1.0, 0.0], [0.6, 0.8], [0.0, 2.0], None]


def learned(table: pl.DataFrame, kinds: dict[str, str], **settings: object) -> Recommender:
    training = Histories.from_lists([[1, 2], [1]], 4)
    items = make_items(training, Catalog(table).tie_rank, table, kinds)
    model = build(model_class("content-knn"), settings, items)
    model.fit(training)
    return model


def table(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"item": ["a", "b", "c", "d"], **columns})


def test_scores_are_cosines_of_the_mean_vector_and_unseen_items_have_them() -> None:
    model = learned(table(place=PLACES, price=[1, 2, 3, 4]), {"place": "vector", "price": "number"}, recency=1.0)
    scores = model.score(Histories.from_lists([[1, 3], [3], [4]], 4)).numpy()
    mean = np.array([0.5, 1.0])  # the older item counts half
    wanted = [mean @ [1, 0], mean @ [0.6, 0.8], mean @ [0, 1], 0]
    np.testing.assert_allclose(scores[0, 1:], wanted / np.linalg.norm(mean), rtol=1e-6)
    np.testing.assert_allclose(scores[1, 1:], [0, 0.8, 1, 0], atol=1e-6)  # item 3 has no event at all
    assert not scores[2, 1:].any()
    assert model.scores_unseen


def test_each_column_counts_the_same_and_can_be_chosen() -> None:
    columns = {"place": PLACES, "brand": ["x", "y", "x", None], "tags": [["p", "q"], ["q"], None, ["p", "q"]]}
    kinds = {"place": "vector", "brand": "category", "tags": "categories"}
    model = learned(table(**columns), kinds)
    scores = model.score(Histories.from_lists([[1]], 4)).numpy()[0]
    # the three cosines are 0.6, 0 and 1/sqrt(2) of b, 0, 1 and none of c, none, none and 1 of d
    places = [(0.6 + 0 + np.sqrt(0.5)) / 3, 1 / np.sqrt(3 * 2), 1 / np.sqrt(3)]
    np.testing.assert_allclose(scores[1:], [1, *places], rtol=1e-5)
    alone = learned(table(**columns), kinds, features=("brand",)).score(Histories.from_lists([[1]], 4)).numpy()[0]
    np.testing.assert_allclose(alone[1:], [1, 0, 1, 0], atol=1e-6)


def test_texts_go_through_the_encoder() -> None:
    titles = ["三国演义", "三国演义连环画", "西游记", None]
    model = learned(table(title=titles), {"title": "text"})
    scores = model.score(Histories.from_lists([[1]], 4)).numpy()[0]
    vectors = encode_texts(titles, "ngrams")
    np.testing.assert_allclose(scores[1:], vectors @ vectors[0], atol=1e-6)


def test_items_without_comparable_columns_are_refused() -> None:
    with pytest.raises(ConfigError, match="compares the features of items, and these have no text") as raised:
        learned(table(price=[1, 2, 3, 4]), {"price": "number"})
    assert "--items" in raised.value.hint
    with pytest.raises(ConfigError, match="unknown item feature 'titel'; did you mean 'title'"):
        learned(table(title=["a", "b", "c", "d"]), {"title": "text"}, features=("titel",))
