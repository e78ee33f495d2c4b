"""What a model costs: the numbers that it holds, and floating-point operations an event.

FLOPs are those of matrix products and convolutions, two a multiplication with its addition, as PyTorch's own counter
finds them in a run of the encoder; element-wise work (norms, activations, gates, scans) isn't counted. Causal attention
in the fused kernel counts the L (L + 1) / 2 pairs of steps that are looked at, not L^2. A loss costs 2 D V an event
over the whole catalog and 2 D (K + 1) over K samples; SASRec's encoder of width D, with b blocks and feed-forward
layers of f widths, b (2 (4 + 2 f) D^2 + 2 D (L + 1)).

Training costs three times the forward pass, since the gradient takes two products for each one. Padding isn't counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from onward.data.batches import Steps
from onward.data.sequences import Histories, Ints
from onward.models.base import Items, build
from onward.models.sequence import SequenceConfig, SequenceModel
from onward.payload import Payload

REFERENCE_ITEMS = 10_000
"""Catalog for which `onward models` states costs."""


class Cost(Payload):
    """Cost of a sequence model at its default settings, one event being one step of a history of `length`."""

    items: int
    """Items of the catalog it is stated for."""
    length: int
    """Steps of the history it is stated for."""
    item_parameters: int
    """Numbers learned for items: their vectors and biases."""
    encoder_parameters: int
    """All other numbers learned."""
    encoder_flops: float
    """Floating-point operations of the encoder an event, forward."""
    loss_flops: float
    """Floating-point operations of the loss an event, forward."""


def default_cost(cls: type[SequenceModel]) -> Cost:
    """Cost of a model at its default settings, for a catalog of `REFERENCE_ITEMS`."""
    count = np.ones(REFERENCE_ITEMS + 1, dtype=np.int64)
    with torch.random.fork_rng(devices=[]):
        model = build(cls, {}, Items(count, count.astype(np.int32)))
    assert isinstance(model, SequenceModel)
    item_parameters = sum(table.numel() for table in model.item_tables().values())
    length = model.config.max_length
    return Cost(
        items=REFERENCE_ITEMS,
        length=length,
        item_parameters=item_parameters,
        encoder_parameters=sum(parameter.numel() for parameter in model.parameters()) - item_parameters,
        encoder_flops=encoder_flops(model, length) / length,
        loss_flops=loss_flops(model.config, REFERENCE_ITEMS),
    )


def encoder_flops(model: SequenceModel, length: int) -> int:
    """FLOPs of encoding one history of `length` steps. Runs the encoder once, on the device where it is."""
    steps = Steps(Histories.from_lists([[1] * length], model.items.n))
    batch = steps.encode(steps.start, steps.end).to(model.output_bias.device)
    was_training = model.training
    model.eval()
    with (
        torch.enable_grad(),
        counter() as counted,
    ):  # without gradients compiled code, which counts nothing, would do it
        model.states(batch)
    model.train(was_training)
    return int(counted.get_total_flops())


def loss_flops(config: SequenceConfig, n_items: int) -> int:
    """FLOPs of the loss of one target, forward; not of negatives taken from the batch, nor of the contrastive term."""
    loss = config.resolved(n_items).loss
    if loss in ("mse", "interest"):
        scored = 1
    elif loss == "cross_entropy":
        scored = n_items
    else:
        scored = config.negatives + 1
    return 2 * config.width * scored


def training_flops(model: SequenceModel, lengths: Ints | Sequence[int], targets: int) -> int:
    """FLOPs of training on rows of these lengths ((B,) input steps), with `targets` targets in all; backward too."""
    distinct, times = np.unique(np.asarray(lengths, dtype=np.int64), return_counts=True)
    encoder = sum(encoder_flops(model, int(length)) * int(n) for length, n in zip(distinct, times, strict=True))
    return 3 * (encoder + targets * loss_flops(model.config, model.items.n))


def counter() -> FlopCounterMode:
    """PyTorch's counter, with the processor's fused kernels that it lacks."""
    aten = torch.ops.aten
    added = {
        aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
        aten.mkldnn_rnn_layer: _fused_recurrent,
    }
    return FlopCounterMode(display=False, custom_mapping=added)


Shape = Sequence[int]


def _fused_attention(query: Shape, key: Shape, value: Shape, _: float = 0, causal: bool = False, **__: Any) -> int:
    """From the shapes (B, H, L, D / H) of queries, keys and values; causal: of the pairs that are looked at."""
    rows, heads, asked, width = query
    pairs = asked * (asked + 1) // 2 if causal else asked * key[2]
    return 2 * rows * heads * pairs * (width + value[3])


def _fused_recurrent(inputs: Shape, from_input: Shape, from_state: Shape, *_: Any, **__: Any) -> int:
    """From the shapes of a layer's inputs, (L, B, D), and of its two matrices."""
    return 2 * inputs[0] * inputs[1] * (math.prod(from_input) + math.prod(from_state))
