"""How alike items are to those of a history, beside the model's scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from onward.data.sequences import Histories
from onward.models.features.category_column import CategoryColumn
from onward.models.features.content import content_vectors
from onward.models.features.likeness import Likeness
from onward.models.features.vector_column import VectorColumn

VECTOR = VectorColumn(owner="items", name="v", key="items.v", kind="vector", mean=[1.0, 0.0])
COLOUR = CategoryColumn(owner="items", name="colour", key="items.colour", kind="category", vocabulary=["red"])
FRAME = pl.DataFrame({"v": [[2.0, 0.0], [1.0, 3.0], [1.0, -1.0], [4.0, 4.0]]})
SEEN = np.array([False, True, True, False, False])


def fitted(weight: float = 1.0) -> Likeness:
    likeness = Likeness.fit([VECTOR], FRAME, SEEN, 4.0)
    assert likeness is not None
    likeness.weight = weight
    return likeness


def added(likeness: Likeness, items: list[int]) -> torch.Tensor:
    return likeness.of_histories(Histories.from_lists([items], 4)) @ likeness.of_catalog().T


def test_what_is_added_by_hand() -> None:
    # less the mean the items lie at (1, 0), (0, 3), (0, -1), (3, 4); the trained ones at right angles, so that
    # whitening changes nothing; of a history's events each counts 2 ** (1 / 4) times the one before it
    newer = 2 ** (1 / 4)
    length = (1 + newer**2) ** 0.5
    expected = torch.tensor([[0.0, 0.0, 0.0, -newer / length, (0.6 + 0.8 * newer) / length]])
    torch.testing.assert_close(added(fitted(), [1, 2]), expected)
    torch.testing.assert_close(added(fitted(0.25), [1, 2]), expected / 4)


def test_items_without_events_count_in_a_history_too() -> None:
    torch.testing.assert_close(added(fitted(), [3])[0, 4], torch.tensor(-0.8))


def test_nothing_is_added_for_an_empty_history() -> None:
    assert not added(fitted(), []).any()


def test_vectors_are_cut_to_the_widest_axes_of_the_trained_items_and_whitened(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    plane = (rng.standard_normal((50, 2)) * [5, 1]) @ rng.standard_normal((2, 6))
    table = pl.DataFrame({"v": (plane + 1e-4 * rng.standard_normal((50, 6))).tolist()})
    column = VectorColumn(owner="items", name="v", key="items.v", kind="vector", mean=[0.0] * 6)
    seen = np.arange(51) > 10
    for width, found in ((1, 1), (2, 2), (6, 2)):  # what is left beyond two axes is next to nothing
        monkeypatch.setattr("onward.models.features.likeness.AXES", width)
        likeness = Likeness.fit([column], table, seen, 2.0)
        assert likeness is not None
        assert likeness.width == found
        cut = torch.from_numpy(content_vectors([column], table)) @ likeness.axes
        torch.testing.assert_close(cut[10:].T @ cut[10:] / 40, torch.eye(found), atol=1e-4, rtol=0)
        torch.testing.assert_close(likeness.table[1:], torch.nn.functional.normalize(cut, dim=1))


def test_an_item_that_comes_later_is_as_one_of_the_catalog() -> None:
    likeness = fitted()
    unknown = torch.zeros(4, dtype=torch.int64)
    torch.testing.assert_close(likeness.of_features(FRAME, unknown), likeness.table[1:])
    known = torch.tensor([1, 2, 3, 4])
    torch.testing.assert_close(likeness.of_features(FRAME, known), likeness.of_catalog()[1:])
    assert not likeness.of_features(FRAME, known)[:2].any()
    lacking = likeness.of_features(pl.DataFrame({"other": ["a"]}), torch.tensor([0]))
    ragged = likeness.of_features(pl.DataFrame({"v": [[1.0, 2.0, 3.0]]}), torch.tensor([0]))
    assert not lacking.any()
    assert not ragged.any()


def test_it_is_the_same_after_its_state_was_taken_over() -> None:
    likeness = fitted(0.7)
    again = Likeness.load([VECTOR], SEEN, likeness.state())
    assert torch.equal(added(again, [1, 2]), added(likeness, [1, 2]))


def test_columns_that_cant_be_compared_are_none() -> None:
    event = COLOUR.model_copy(update={"owner": "events"})
    assert Likeness.fit([event], pl.DataFrame({"colour": ["red"] * 4}), SEEN, 4.0) is None


def test_items_of_which_nothing_is_known_cant_be_compared() -> None:
    empty = pl.DataFrame({"v": pl.Series([None] * 4, dtype=pl.List(pl.Float64))})
    assert Likeness.fit([VECTOR], empty, SEEN, 4.0) is None


def test_columns_count_the_same_and_values_that_training_lacked_count_too() -> None:
    frame = FRAME.with_columns(colour=pl.Series(["red", "blue", "blue", None]))
    vectors = content_vectors([VECTOR, COLOUR], frame)
    products = vectors @ vectors.T
    np.testing.assert_allclose(products[1, 2], (-1 + 1) / 2, atol=1e-6)  # opposite vectors, one colour
    np.testing.assert_allclose(products[0, 3], 0.6 / 2**0.5, atol=1e-6)  # a missing one leaves the rest
