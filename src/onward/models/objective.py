"""The choice of what a sequence model minimises, and its settings.

Legend: S states, T targets, D width, V items, K negatives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from onward.data.negatives import NegativeSampler
from onward.models import losses, noise, sampled_losses
from onward.models.base import ModelConfig
from onward.preferences import CHUNK_ROWS

Loss = Literal["auto", "cross_entropy", "sampled_softmax", "bce", "gbce", "bpr", "bpr_max", "mse"]
EXACT_ITEMS = 50_000
"""Largest catalog that `auto` compares every target with all of; there that is nine tenths of a step already."""


class ObjectiveConfig(ModelConfig):
    """Settings of the loss."""

    loss: Loss = "auto"
    """What is minimised. `auto`: cross_entropy, above 50,000 items sampled_softmax, whose cost is not the catalog's.
    `mse` learns the interest in [0, 1] from the value column instead of ranking."""
    softmax: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of `cross_entropy`'s matrix products in training. `auto`: bfloat16 where the machine is faster with it
    (onward doctor measures)."""
    negatives: int = Field(1024, ge=1)
    """Negatives drawn for each thread's part of a batch, for the losses that need them."""
    negatives_power: float = Field(0.0, ge=0, le=1)
    """Negatives are drawn in proportion to training events ** this: 0 uniform, 1 by popularity."""
    negatives_in_batch: bool = False
    """Whether a batch's other targets are negatives as well."""
    gbce_calibration: float = Field(0.75, ge=0, le=1)
    """For gbce: 0 is plain binary cross-entropy, 1 undoes all overconfidence that comes of sampling."""
    bpr_max_regularization: float = Field(1.0, ge=0)
    """For bpr_max: weight of the squared scores of negatives."""

    contrastive: float = Field(0.0, ge=0)
    """Weight of a term that pulls together the states of two views of a row, and of rows with the same next item; views
    differ by dropout, and by train.augment where it is set. 0: none."""
    temperature: float = Field(0.1, gt=0)
    """For contrastive: cosines of states are divided by this."""
    repeat: bool = False
    """Whether a gate chooses between repeating an item of the history and exploring the catalog; by the exact
    likelihood, so that the loss is cross_entropy whatever the catalog's size."""

    def resolved(self, n_items: int, bfloat16: bool = False) -> Self:
        """The same settings with `auto` replaced by what it means for a catalog and a machine."""
        loss = "cross_entropy" if n_items <= EXACT_ITEMS or self.repeat else "sampled_softmax"
        means = {"loss": loss, "softmax": "bfloat16" if bfloat16 else "float32"}
        return self.model_copy(update={name: value for name, value in means.items() if getattr(self, name) == "auto"})

    @property
    def touches_rows(self) -> bool:
        """Whether a step's gradient reaches only the items of its batch, so that item tables get sparse gradients."""
        return self.loss != "cross_entropy"


def ranking_loss(
    states: Tensor,
    targets: Tensor,
    weights: Tensor,
    table: Tensor,
    bias: Tensor,
    sampler: NegativeSampler,
    config: ObjectiveConfig,
    chunk_rows: int = CHUNK_ROWS,
    owners: Tensor | None = None,
    copied: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """The configured loss that ranks the target above other items, a scalar.

    Args:
        states: (S, D). targets: (T,) int64 items. weights: (T,).
        table: (V + 1, D) item vectors that states are scored against; row 0 is padding. bias: (V + 1,).
        chunk_rows: for `cross_entropy`, rows whose logits are held at once.
        owners: (T,) int64, ascending: the state that each target follows; None where S = T and each has its own.
        copied: for `cross_entropy`, what else the targets may come from, as in `full_softmax`.
    """
    if config.loss == "cross_entropy":
        precision = torch.bfloat16 if config.softmax == "bfloat16" else torch.float32
        wanted = targets - 1
        return losses.full_softmax(states, table[1:], bias[1:], wanted, weights, precision, chunk_rows, owners, copied)
    states = states if owners is None else states.index_select(0, owners)
    positive = item_logits(states, targets, table, bias)
    shared = targets if config.negatives_in_batch else None
    negatives = sampler.draw(config.negatives, shared, noise.generator()).to(targets.device)
    vectors, offsets = _rows(negatives.items, table, bias)
    hits = sampled_losses.find_hits(targets, negatives.items)
    if config.loss == "sampled_softmax":
        included = negatives.log_included
        return sampled_losses.sampled_softmax(positive, states, vectors, offsets, included, hits, weights)
    loss = _pairwise(config, n_items=len(table) - 1)
    counts = negatives.counts
    return sampled_losses.mean_over_predictions(loss, positive, states, vectors, offsets, counts, hits, weights)


def _pairwise(config: ObjectiveConfig, n_items: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if config.loss == "gbce":
        rate = min(1.0, config.negatives / max(1, n_items - 1))
        return partial(sampled_losses.gbce, rate=rate, calibration=config.gbce_calibration)
    if config.loss == "bpr_max":
        return partial(sampled_losses.bpr_max, regularization=config.bpr_max_regularization)
    assert config.loss in ("bce", "bpr"), config.loss
    return sampled_losses.bce if config.loss == "bce" else sampled_losses.bpr


def item_logits(states: Tensor, items: Tensor, table: Tensor, bias: Tensor) -> Tensor:
    """(T,) the logit of one item for each of (T, D) states."""
    vectors, offsets = _rows(items, table, bias)
    return (states * vectors).sum(1) + offsets


def _rows(items: Tensor, table: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """(K, D) vectors and (K,) biases of some items, with sparse gradients."""
    return F.embedding(items, table, sparse=True), torch.gather(bias, 0, items, sparse_grad=True)
