"""What items without events take over from trained items that look like them."""

from __future__ import annotations

from math import exp
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from onward.models.features.likeness import Likeness
from onward.models.features.residuals import Residuals
from onward.models.features.vector_column import VectorColumn

SEEN = np.array([False, True, True, True, False, False])
# content: items 1, 2 and 4 lie near each other, 3 and nothing else lies apart, nothing is known of 5
TABLE = torch.tensor([[0.0, 0], [1, 0], [0.8, 0.6], [0, -1], [1, 0], [0, 0]])
FRAME = pl.DataFrame({"place": [1.0, 2, 3, 4, 5]})


class Learned:
    """Output vectors (place, 0) by features with bias 0.5; ids add to the trained ones."""

    added = torch.tensor([[0.0, 0, 0], [1, 2, 0.1], [3, -4, 0.2], [7, 7, 7], [0, 0, 0], [0, 0, 0]])

    def output_table(self) -> tuple[Tensor, Tensor]:
        places = torch.arange(6.0)
        return torch.stack([places, 0 * places], 1) + self.added[:, :2], 0.5 + self.added[:, 2]

    def items_of(self, frame: pl.DataFrame) -> tuple[Tensor, Tensor]:
        places = torch.tensor(frame["place"].to_list())
        return torch.stack([places, 0 * places], 1), torch.full((len(places),), 0.5)


def fitted() -> Residuals:
    return Residuals.fit(cast(Any, Learned()), FRAME, TABLE, SEEN)


@pytest.mark.parametrize("chunk", [1, 100])
def test_what_is_taken_over_by_hand(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("onward.models.features.residuals.CHUNK_COSINES", chunk)
    alike = [exp(cosine / 0.05) for cosine in (1, 0.8, 0)]
    expected = torch.zeros(6, 3)
    expected[4] = (torch.tensor(alike)[:, None] * Learned.added[1:4]).sum(0) / sum(alike)
    torch.testing.assert_close(fitted().lent, expected)
    monkeypatch.setattr("onward.models.features.residuals.NEIGHBOURS", 1)
    torch.testing.assert_close(fitted().lent[4], Learned.added[1])


def test_progress_is_of_the_items_that_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onward.models.features.residuals.CHUNK_COSINES", 3)  # one item at once
    calls: list[tuple[int, int]] = []
    table = torch.cat([TABLE, TABLE[4:5]])
    residuals = Residuals.fit(cast(Any, Learned()), FRAME, TABLE, SEEN, lambda *at: calls.append(at))
    assert calls == [(1, 1)]  # of item 4 alone: nothing is known of item 5, and the others are trained
    calls.clear()
    assert residuals.of(table[1:], lambda *at: calls.append(at)).any(1).tolist() == [True] * 4 + [False, True]
    assert calls == [(done, 5) for done in range(1, 6)]


def test_an_item_that_comes_later_takes_over_as_one_of_the_catalog() -> None:
    residuals = fitted()
    torch.testing.assert_close(residuals.of(TABLE[4:]), residuals.lent[4:])


def test_nothing_is_taken_over_where_nothing_is_known_of_trained_items() -> None:
    residuals = Residuals.fit(cast(Any, Learned()), FRAME, torch.zeros_like(TABLE), SEEN)
    assert not residuals.lent.any()
    assert not residuals.of(TABLE).any()


def test_residuals_of_a_seeded_sample_where_trained_items_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onward.models.features.residuals.MOST_ITEMS", 1)
    one = fitted().lent[4]
    assert any(torch.allclose(one, added) for added in Learned.added[1:4])
    assert torch.equal(one, fitted().lent[4])


def test_output_vectors_of_the_catalog_and_of_items_that_come_later_are_the_same() -> None:
    column = VectorColumn(owner="items", name="v", key="items.v", kind="vector", mean=[0.0, 0.0])
    frame = pl.DataFrame({"v": TABLE[1:].tolist()})
    likeness = Likeness.fit([column], frame, SEEN, 2.0)
    assert likeness is not None
    likeness.residuals = Residuals.fit(cast(Any, Learned()), FRAME, likeness.table, SEEN)
    again = Likeness.load([column], SEEN, likeness.state())
    vectors, biases = Learned().output_table()
    whole = likeness.extend_catalog(vectors, biases)
    assert likeness.extend_catalog(vectors, biases)[0] is whole[0]
    raised = likeness.extend_catalog(vectors, biases + 1)
    torch.testing.assert_close(raised[1], whole[1] + 1)
    torch.testing.assert_close(whole[0][:4, :2], vectors[:4])
    assert (whole[0][4, :2] != vectors[4]).all()
    for one in (likeness, again):
        rows = one.extend_features(vectors[1:], biases[1:], frame, torch.arange(1, 6))
        torch.testing.assert_close(rows[0], whole[0][1:])
        torch.testing.assert_close(rows[1], whole[1][1:])
        later = one.extend_features(vectors[4:], biases[4:], frame[3:], torch.zeros(2).long())
        torch.testing.assert_close(later[0], whole[0][4:])


def test_a_model_that_was_trained_before_there_were_residuals_is_loaded_without() -> None:
    assert Residuals.load({"likeness.axes": TABLE}, TABLE) is None
