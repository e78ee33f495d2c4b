"""The k best of each row, ties in the order of `tie_rank`."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.models.top_k import top_k


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9), st.integers(1, 5))
@settings(deadline=None, max_examples=200)
def test_lists_are_those_of_a_full_sort(seed: int, k: int, n_items: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, (4, n_items + 1)).astype(np.float32)
    scores[scores == 3] = -np.inf
    scores[:, 0] = -np.inf
    tie_rank = np.concatenate([[0], generator.permutation(n_items) + 1]).astype(np.int32)
    items, values = top_k(torch.from_numpy(scores), k, tie_rank)
    assert items.shape == values.shape == (4, k)
    for row in range(4):
        order = sorted(range(1, n_items + 1), key=lambda j: (-scores[row, j], tie_rank[j]))
        expected = [j for j in order if np.isfinite(scores[row, j])][:k]
        assert items[row].tolist() == expected + [0] * (k - len(expected))
        assert values[row].tolist() == [scores[row, j] for j in expected] + [-np.inf] * (k - len(expected))
