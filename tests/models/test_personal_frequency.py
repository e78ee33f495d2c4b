"""Personal frequency: each history's own favourites, then the popular ones."""

from __future__ import annotations

import numpy as np
import pytest

from onward.data.sequences import Histories
from onward.models.base import build, make_items
from onward.models.registry import model_class

TRAINING = Histories.from_lists([[1, 1, 1, 2, 2, 3], [4, 4, 4, 4]], 6)


def _ranked(history: Histories, **settings: object) -> list[int]:
    model = build(model_class("personal-frequency"), settings, make_items(TRAINING, np.arange(7, dtype=np.int32)))
    model.fit(TRAINING)
    items: list[int] = model.recommend(history, k=6, seen="include").items[0].tolist()
    return items


def _of(*items: int) -> Histories:
    return Histories.from_lists([items], 6)


def test_frequent_items_come_first_then_recent_ones_then_popular_ones() -> None:
    # 2 twice; 1 and 3 once, 3 more recently; of the others 4 is the popular one; 5 and 6 are no candidates
    assert _ranked(_of(2, 1, 2, 3)) == [2, 3, 1, 4, 0, 0]
    assert _ranked(_of(2, 3, 2, 1)) == [2, 1, 3, 4, 0, 0]


def test_with_a_half_life_events_count_less_the_older_they_are() -> None:
    history = _of(2, 2, 2, 3, 3, 1, 1)
    assert _ranked(history)[:3] == [2, 1, 3]
    # 1: 1 + 1/2; 3: 1/4 + 1/8; 2: 1/16 + ...
    assert _ranked(history, half_life=1.0)[:3] == [1, 3, 2]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [1, 0, 4, 3, 2]])
def test_age_is_counted_in_baskets_whose_members_are_equal(order: list[int]) -> None:
    columns = {
        "item": np.array([3, 1, 2, 4, 1], np.int32)[order],
        "group": np.array([0, 0, 1, 1, 1], np.int32),
    }
    # 1 twice; 4 and 2 in the newer basket, 4 the more popular; 3 in the older
    assert _ranked(Histories(columns, np.array([0]), np.array([5]), 6))[:4] == [1, 4, 2, 3]
