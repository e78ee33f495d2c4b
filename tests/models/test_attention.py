"""Attention by its formula, and folded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from onward.models.attention import attention, fold


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_mixes_values_by_head(heads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 5, 4, generator=generator) for _ in range(3))
    wanted = torch.zeros(2, 5, 4)
    for row in range(2):
        for head in torch.arange(4).chunk(heads):
            for step in range(5):
                scores = key[row, : step + 1][:, head] @ query[row, step, head] / len(head) ** 0.5
                wanted[row, step, head] = scores.softmax(0) @ value[row, : step + 1][:, head]
    torch.testing.assert_close(attention(query, key, value, heads, None, causal=True), wanted)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_folded_attention_adds_the_same(heads: int, causal: bool) -> None:
    """Keys and values have biases too, of which one is in vain and the other goes through."""
    torch.manual_seed(0)
    query_key_value, project, x_BLD = nn.Linear(8, 24), nn.Linear(8, 8), torch.randn(2, 5, 8)
    for layer in (query_key_value, project):
        nn.init.normal_(layer.weight, std=0.5)
        nn.init.normal_(layer.bias)
    seen = None if causal else torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)[:, None, None, :]
    with torch.no_grad():
        wanted = project(attention(*query_key_value(x_BLD).chunk(3, 2), heads, seen, causal))
        query, mixed = fold(query_key_value, project, heads)
        asks = nn.functional.linear(x_BLD, *query)
        by_step = attention(asks, x_BLD, x_BLD, heads, seen, causal, (8 // heads) ** -0.5, key_heads=1)
        found = nn.functional.linear(by_step, *mixed)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
