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

from onward.data.negatives import Negatives, NegativeSampler
from onward.errors import ConfigError
from onward.models import losses, noise, sampled_losses
from onward.models.base import ModelConfig
from onward.models.features.tower import Tower
from onward.preferences import CHUNK_ROWS

Loss = Literal["auto", "cross_entropy", "sampled_softmax", "bce", "gbce", "bpr", "bpr_max", "mse", "interest"]
InterestOf = Literal["values", "events"]
EXACT_ITEMS = 50_000
"""Largest catalog that `auto` compares every target with all of; there that is nine tenths of a step already."""


class ObjectiveConfig(ModelConfig):
    """Settings of the loss."""

    loss: Loss = "auto"
    """What is minimised. `auto`: cross_entropy, above 50,000 items sampled_softmax, whose cost is not the catalog's.
    `mse` learns interest in [0, 1] from the value column instead of ranking, `interest` as the settings below say."""
    interest: Literal["none", "mse", "bce"] = "none"
    """How interest in [0, 1] is learned: mean squared error or binary cross-entropy. Beside a loss that ranks, by a
    second head."""
    interest_of: InterestOf = "values"
    """What interest is learned from: the value column, or which events happened, against sampled negatives."""
    interest_weight: float = Field(1.0, gt=0)
    """Weight of the interest's loss beside one that ranks."""
    interest_decay: float = Field(0.01, ge=0)
    """Weight, in the interest's loss, of the squares of what is multiplied: a history's vector and the item's."""
    interest_factors: int = Field(32, ge=0)
    """Of values, in what past values say by themselves: factors of matrix factorisation that each item has. 0: past
    values are the encoder's input alone."""
    interest_categories: tuple[str, ...] = ()
    """Columns of items whose categories a history may like more or less."""
    interest_category_weight: float = Field(0.6, gt=0)
    """How much liking differs by category, in units of how much it differs by factor."""
    interest_bias_penalty: float = Field(6.0, gt=0)
    """Variance of the noise in one value over that of a history's bias."""
    interest_factor_penalty: float = Field(4.0, gt=0)
    """Variance of the noise in one value over that of a history's factors."""
    interest_drift: float = Field(0.12, ge=0)
    """Variance of how far the history's bias moves over that of the noise."""
    interest_drift_events: float = Field(50.0, gt=0)
    """Events after which a third (1/e) of such a move is left."""
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
    def ranks(self) -> bool:
        """Whether it learns to rank, be it beside interest."""
        return self.loss not in ("mse", "interest")

    @property
    def learns_interest(self) -> bool:
        """Whether it learns interest. Raises ConfigError where the settings contradict each other."""
        if self.loss == "interest" and self.interest == "none":
            raise ConfigError("model.loss = 'interest' doesn't say how", "add --set model.interest=mse, or bce")
        if self.loss == "mse" and self.interest == "bce":
            raise ConfigError(
                "model.loss = 'mse' and model.interest = 'bce' are two ways to learn interest",
                "say model.loss=interest for binary cross-entropy alone, or leave model.interest out",
            )
        return not self.ranks or self.interest != "none"

    @property
    def interest_loss(self) -> str:
        """`mse` or `bce`, of settings that learn interest."""
        return "bce" if self.interest == "bce" else "mse"

    @property
    def touches_rows(self) -> bool:
        """Whether a step's gradient reaches only the items of its batch, so that item tables get sparse gradients."""
        return self.loss != "cross_entropy"


def ranking_loss(
    states: Tensor,
    targets: Tensor,
    weights: Tensor,
    table: Tensor | Tower,
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
        table: (V + 1, D) item vectors that states are scored against; row 0 is padding. bias: (V + 1,). Or, of losses
            that look at some items, a tower that makes their vectors and biases.
        chunk_rows: for `cross_entropy`, rows whose logits are held at once.
        owners: (T,) int64, ascending: the state that each target follows; None where S = T and each has its own.
        copied: for `cross_entropy`, what else the targets may come from, as in `full_softmax`.
    """
    if config.loss == "cross_entropy":
        precision = torch.bfloat16 if config.softmax == "bfloat16" else torch.float32
        assert isinstance(table, Tensor)  # all of the catalog is ranked
        wanted = targets - 1
        return losses.full_softmax(states, table[1:], bias[1:], wanted, weights, precision, chunk_rows, owners, copied)
    states = states if owners is None else states.index_select(0, owners)
    if config.loss != "sampled_softmax":
        loss = _pairwise(config, n_items=len(table) - 1)
        return against_negatives(loss, states, targets, weights, table, bias, sampler, config)
    positive = item_logits(states, targets, table, bias)
    negatives, vectors, offsets, hits = _drawn(targets, table, bias, sampler, config)
    included = negatives.log_included
    return sampled_losses.sampled_softmax(positive, states, vectors, offsets, included, hits, weights)


def against_negatives(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    states: Tensor,
    targets: Tensor,
    weights: Tensor,
    table: Tensor | Tower,
    bias: Tensor,
    sampler: NegativeSampler,
    config: ObjectiveConfig,
) -> Tensor:
    """A loss of (positive, negative, counts), as in `sampled_losses`, with negatives drawn as configured; a scalar.

    Shapes as in `ranking_loss`, with a state for each target.
    """
    positive = item_logits(states, targets, table, bias, config.touches_rows)
    negatives, vectors, offsets, hits = _drawn(targets, table, bias, sampler, config)
    counts = negatives.counts
    return sampled_losses.mean_over_predictions(loss, positive, states, vectors, offsets, counts, hits, weights)


def _drawn(
    targets: Tensor, table: Tensor | Tower, bias: Tensor, sampler: NegativeSampler, config: ObjectiveConfig
) -> tuple[Negatives, Tensor, Tensor, Tensor]:
    """Negatives, their (K, D) vectors and (K,) biases, and (T,) which of them each target is, -1 for none."""
    shared = targets if config.negatives_in_batch else None
    negatives = sampler.draw(config.negatives, shared, noise.generator()).to(targets.device)
    vectors, offsets = item_rows(negatives.items, table, bias, config.touches_rows)
    return negatives, vectors, offsets, sampled_losses.find_hits(targets, negatives.items)


def _pairwise(config: ObjectiveConfig, n_items: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    if config.loss == "gbce":
        rate = min(1.0, config.negatives / max(1, n_items - 1))
        return partial(sampled_losses.gbce, rate=rate, calibration=config.gbce_calibration)
    if config.loss == "bpr_max":
        return partial(sampled_losses.bpr_max, regularization=config.bpr_max_regularization)
    assert config.loss in ("bce", "bpr"), config.loss
    return sampled_losses.bce if config.loss == "bce" else sampled_losses.bpr


def item_logits(states: Tensor, items: Tensor, table: Tensor | Tower, bias: Tensor, sparse: bool = True) -> Tensor:
    """(T,) the logit of one item for each of (T, D) states; `sparse`: whether gradients hold their rows only."""
    vectors, offsets = item_rows(items, table, bias, sparse)
    return (states * vectors).sum(1) + offsets


def item_rows(items: Tensor, table: Tensor | Tower, bias: Tensor, sparse: bool) -> tuple[Tensor, Tensor]:
    """(K, D) vectors and (K,) biases of some items."""
    if isinstance(table, Tower):
        return table.rows(items)
    return F.embedding(items, table, sparse=sparse), torch.gather(bias, 0, items, sparse_grad=sparse)
