"""Attention of the transformers: what heads mix, and the same with its matrices folded together for a graph.

Legend: B rows, L steps, Q steps that ask, D width, H heads, E width of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention(
    query_BQD: Tensor,
    key_BLD: Tensor,
    value_BLD: Tensor,
    heads: int,
    seen: Tensor | None,
    causal: bool,
    scale: float | None = None,
    key_heads: int | None = None,
) -> Tensor:
    """(B, Q, D) the values mixed by each head.

    Args:
        seen: (B, 1, 1, L) bool, the steps to look at, or None for all. causal: none that follow the one that asks.
        scale: of the products, 1 / sqrt(E) by default.
        key_heads: heads of the keys and values, as many by default; of one key all heads ask.
    """
    key_heads = heads if key_heads is None else key_heads
    if torch.compiler.is_exporting():  # one node reads rows as they lie, which spares a graph ten that turn them
        if seen is not None and query_BQD.shape[1] > 1:  # that node wants a row of the mask for each query
            seen = seen.expand(-1, -1, query_BQD.shape[1], -1)
        return torch.onnx.ops.attention(
            query_BQD,
            key_BLD,
            value_BLD,
            attn_mask=seen,
            is_causal=causal,
            q_num_heads=heads,
            kv_num_heads=key_heads,
            scale=scale,
        )[0]
    query = query_BQD.view(*query_BQD.shape[:2], heads, -1).transpose(1, 2)
    key, value = (x.view(*x.shape[:2], key_heads, -1).transpose(1, 2) for x in (key_BLD, value_BLD))
    mixed_BHQE = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=causal, scale=scale)
    return mixed_BHQE.transpose(1, 2).flatten(2)


class Folded(NamedTuple):
    """Attention over the steps themselves: each a (matrix, bias), as `F.linear` takes them.

    Attributes:
        query: (H x D, D) and (H x D,), from a step that asks to what each head multiplies the steps by.
        mixed: (D, H x D) and (D,), from the steps as each head mixes them to what attention adds.
    """

    query: tuple[Tensor, Tensor]
    mixed: tuple[Tensor, Tensor]


def fold(query_key_value: nn.Linear, project: nn.Linear, heads: int) -> Folded:
    """Four matrices as two, for which no key and no value is made.

    With query = Q x + b, key = K y + c and value = V y + v, query . key = (K' Q x + K' b) . y + a part that is the same
    for every y, which the softmax takes out; and as the weights of the mixture m = sum a y add up to one, what is
    projected is P (V m + v) + p = P V m + (P v + p).
    """
    query_HED, key_HED, value_HED = query_key_value.weight.view(3, heads, -1, project.in_features).unbind()
    query_bias, _, value_bias = query_key_value.bias.chunk(3)
    by_step = key_HED.mT @ query_HED  # (H, D, D)
    by_step_bias = key_HED.mT @ query_bias.view(heads, -1, 1)
    project_HDE = project.weight.view(project.out_features, heads, -1).transpose(0, 1)
    mixed_DHD = (project_HDE @ value_HED).transpose(0, 1)
    return Folded(
        (by_step.flatten(0, 1), by_step_bias.flatten()),
        (mixed_DHD.flatten(1), project.weight @ value_bias + project.bias),
    )
