"""Two lists are the same when scores agree and items differ only inside near-ties."""

from __future__ import annotations

import numpy as np
import pytest

from onward.serve.replay.sameness import Sameness, compare_lists

ITEMS = [5, 3, 8, 2, 7]
SCORES = [2.0, 1.0, 1.0 - 1e-6, 0.5, 0.5 - 1e-6]
"""Items 3 and 8 are a near-tie, and 2 and 7, which lies across the edge of a list of four."""


def judge(items: list[int], scores: list[float], filled: int = 0, offline: list[int] = ITEMS) -> Sameness:
    """Compare one list of four with the reference."""
    places = np.arange(4)[None] >= 4 - filled
    deep = np.where(np.array(offline) > 0, SCORES, -np.inf)
    return compare_lists(
        np.array([offline]), deep[None].astype(np.float32), np.array([items]), np.array([scores], np.float32), places
    )


@pytest.mark.parametrize(
    ("items", "scores", "same", "reordered"),
    [
        ([5, 3, 8, 2], [2.0, 1.0, 1.0, 0.5], True, False),
        ([5, 3, 8, 2], [2.0 + 1e-6, 1.0, 1.0, 0.5], True, False),
        ([5, 8, 3, 2], [2.0, 1.0, 1.0, 0.5], True, True),
        ([5, 3, 8, 7], [2.0, 1.0, 1.0, 0.5], True, True),  # the near-tie goes on below the edge
        ([5, 3, 8, 2], [2.0, 1.0, 1.0, 0.5001], False, False),  # scores
        ([3, 5, 8, 2], [2.0, 1.0, 1.0, 0.5], False, False),  # order
        ([5, 3, 2, 8], [2.0, 1.0, 1.0, 0.5], False, False),
        ([5, 3, 3, 2], [2.0, 1.0, 1.0, 0.5], False, False),  # an item twice
        ([5, 3, 8, 9], [2.0, 1.0, 1.0, 0.4], False, False),  # an item from nowhere
        ([5, 3, 8, 0], [2.0, 1.0, 1.0, -np.inf], False, False),  # too short
    ],
)
def test_one_list(items: list[int], scores: list[float], same: bool, reordered: bool) -> None:
    judged = judge(items, scores)
    assert (bool(judged.same[0]), bool(judged.reordered[0])) == (same, reordered)


def test_where_the_reference_ends_popularity_may_go_on() -> None:
    ended = [5, 3, 0, 0, 0]
    assert judge([5, 3, 0, 0], [2.0, 1.0, -np.inf, -np.inf], offline=ended).same[0]
    assert judge([5, 3, 8, 2], [2.0, 1.0, 0.3, 0.2], filled=2, offline=ended).same[0]
    assert not judge([5, 3, 8, 2], [2.0, 1.0, 0.3, 0.2], filled=1, offline=ended).same[0]


def test_distance_is_a_share_of_the_largest_score() -> None:
    assert judge([5, 3, 8, 2], [2.0, 1.0, 1.0, 0.6]).distance[0] == pytest.approx(0.05)


def test_no_lists() -> None:
    nothing = np.zeros((0, 4))
    judged = compare_lists(
        nothing.astype(np.int64), nothing.astype(np.float32), nothing.astype(np.int64), nothing, nothing > 0
    )
    assert len(judged.same) == len(judged.distance) == 0
