"""The choice of what a sequence model minimises, and its settings.

Legend: T targets, D width, V items, K negatives.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from onward.data.negatives import NegativeSampler
from onward.models import losses
from onward.models.base import ModelConfig


class ObjectiveConfig(ModelConfig):
    """Settings of the loss."""

    loss: Literal["cross_entropy", "sampled_softmax", "bce", "bpr", "mse"] = "cross_entropy"
    """What is minimised; `mse` learns the interest in [0, 1] from the events' value column instead of ranking."""
    softmax: Literal["float32", "bfloat16"] = "float32"
    """Precision of `cross_entropy`'s matrix products in training; bfloat16 is faster where the processor has it."""
    negatives: int = Field(256, ge=1)
    """Negatives a batch shares, for sampled_softmax, bce and bpr."""
    negatives_power: float = Field(0.0, ge=0, le=1)
    """Negatives are drawn in proportion to training events ** this: 0 uniform, 1 by popularity."""


def ranking_loss(
    states: Tensor,
    targets: Tensor,
    weights: Tensor,
    table: Tensor,
    bias: Tensor,
    sampler: NegativeSampler,
    config: ObjectiveConfig,
) -> Tensor:
    """The configured loss that ranks the target above other items, a scalar.

    Args:
        states: (T, D). targets: (T,) int64 items. weights: (T,).
        table: (V + 1, D) item vectors that states are scored against; row 0 is padding. bias: (V + 1,).
    """
    if config.loss == "cross_entropy":
        precision = getattr(torch, config.softmax)
        return losses.full_softmax(states, table[1:], bias[1:], targets - 1, weights, precision)
    positive = item_logits(states, targets, table, bias)
    drawn = sampler.draw(config.negatives).to(targets.device)
    negative = states @ table[drawn].T + bias[drawn]
    hits = targets[:, None] == drawn[None, :]
    if config.loss == "sampled_softmax":
        log_q = sampler.log_q.to(targets.device)[drawn]
        return losses.sampled_softmax(positive, negative, log_q, hits, weights)
    pairwise = losses.bce if config.loss == "bce" else losses.bpr
    return pairwise(positive, negative, hits, weights)


def item_logits(states: Tensor, items: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """(T,) the logit of one item for each of (T, D) states."""
    return (states * table[items]).sum(1) + bias[items]
