"""The head that learns interest: how much a history will value one item, in [0, 1].

    interest = sigmoid(b_i + b_u + (s + p_u) . q_i)

s is the encoder's state. The rest is what a history's past values say without any order, so that an encoder has only
the rest to learn: with r_j the value of a past event less the mean of its item, n of them, and x_j a second vector of
its item,

    b_u = a * sum r_j / (n + c)        p_u = sum r_j x_j / sqrt(n + 1)

as in the asymmetric factor model of Koren ("Factorization Meets the Neighborhood", KDD 2008,
https://doi.org/10.1145/1401890.1401944), whose users are what they valued. b_i starts at the item's mean. Past values
are input of the encoder too: a step's item vector has r_j x_j and its value added.

What it is learned from is the value column, or which events happened: the item that came is 1, items drawn in its
place are 0, as many in weight; there are then no past values.

Legend: N steps, S steps asked, M members, T targets, D width, V items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batches import Batch
from onward.data.negatives import NegativeSampler
from onward.data.sequences import Histories
from onward.models import losses, sampled_losses
from onward.models.features.tower import Tower
from onward.models.objective import ObjectiveConfig, against_negatives, item_rows
from onward.models.tables import ItemVectors
from onward.models.values import learned_range, valued_events

ITEM_PRIOR = 5.0
"""Events at the mean of all that are added to each item before its mean is taken."""
OLD_NAMES = {"value_input": "interest_head.value_input", "value_bounds": "interest_head.bounds"}


class InterestHead(nn.Module):
    """What a sequence model needs beside its encoder to learn interest.

    Args:
        own: whether it scores items by vectors and biases of its own, a second head beside one that ranks.
        ordered: whether a step may read only what came before it; else nothing is summed over the history.

    Attributes:
        bounds: (2,) the values that interest 0 and 1 stand for.
        item_means: (V + 1,) mean interest of each item in training.
    """

    bounds: Tensor
    item_means: Tensor

    def __init__(self, config: ObjectiveConfig, width: int, n_items: int, own: bool, ordered: bool) -> None:
        super().__init__()
        self.config, self.reads_values = config, config.interest_of == "values"
        self.sums = self.reads_values and ordered
        if self.reads_values:
            self.value_input = nn.Parameter(torch.zeros(width))
            self.valued = ItemVectors(n_items, width, config.touches_rows)
            self.register_buffer("bounds", torch.tensor([0.0, 1.0]))
            self.register_buffer("item_means", torch.zeros(n_items + 1))
        if self.sums:
            self.gain = nn.Parameter(torch.tensor(4.0))  # the slope of the logit at the middle
            self.prior = nn.Parameter(torch.tensor(5.0))
        self.project = nn.Linear(width, width) if own else None
        self.items = ItemVectors(n_items, width, config.touches_rows) if own else None
        self.bias = nn.Parameter(torch.zeros(n_items + 1)) if own else None

    def start(self, training: Histories, bias: nn.Parameter) -> None:
        """Take the range of values and the items' means from the training events; `bias` (V + 1,) starts there."""
        if not self.reads_values:
            return
        value_range = learned_range(training, f"interest of values (loss '{self.config.interest_loss}')")
        events = valued_events(training, value_range)
        overall = events.interest.mean()
        size = len(self.item_means)
        total = np.bincount(events.item, events.interest, size) + ITEM_PRIOR * overall
        means = torch.from_numpy(total / (np.bincount(events.item, minlength=size) + ITEM_PRIOR)).float()
        self.bounds.copy_(torch.tensor(value_range))
        self.item_means.copy_(means)
        with torch.no_grad():
            (bias if self.bias is None else self.bias).copy_(means.clamp(0.01, 0.99).logit())

    # what past values say

    def inputs(self, batch: Batch) -> Tensor | None:
        """(N, D) what the values of the steps add to the encoder's input; a missing one nothing."""
        if not self.reads_values or batch.values is None:
            return None
        # a missing value counts as the middle of the range
        scaled_N = (self.scale(batch.values) - 0.5).nan_to_num(0.0)
        valued_ND: Tensor = self.valued(batch.items, batch.bags)
        return scaled_N[:, None] * self.value_input + self._beyond(batch)[:, None] * valued_ND

    def told(self, batch: Batch, places: Tensor | None) -> Told:
        """What each row's values say after some steps, (S,) int64, or after every step."""
        steps = int(batch.lengths.sum())
        if not self.sums or batch.values is None:
            return Told(None, torch.zeros(steps if places is None else len(places), device=batch.items.device))
        beyond_N = self._beyond(batch)
        total_N = _running(beyond_N, batch.lengths)
        count_N = _running((~batch.values.isnan()).float(), batch.lengths)
        offset_N = self.gain * total_N / (count_N + F.softplus(self.prior))
        vectors_ND = _running(beyond_N[:, None] * self.valued(batch.items, batch.bags), batch.lengths)
        told = Told(vectors_ND / (count_N + 1).sqrt()[:, None], offset_N)
        return told if places is None else told.of(places)

    def _beyond(self, batch: Batch) -> Tensor:
        """(N,) r_j: each step's value less the mean of its items; 0 where it is missing."""
        assert batch.values is not None
        means = self.item_means[batch.items]
        if batch.bags is not None:
            means = F.embedding_bag(batch.items, self.item_means[:, None], batch.bags, mode="mean").squeeze(1)
        return (self.scale(batch.values).clamp(0, 1) - means).nan_to_num(0.0)

    def scale(self, values: Tensor) -> Tensor:
        """Values as interests, not clipped."""
        low, high = self.bounds[0], self.bounds[1]
        return (values - low) / (high - low)

    # logits and loss

    def scorer(self, table: Tensor | Tower, bias: Tensor) -> tuple[Tensor | Tower, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases of items: its own, or those of the ranking."""
        return (table, bias) if self.items is None or self.bias is None else (self.items.weight, self.bias)

    def states(self, states: Tensor, told: Told) -> Tensor:
        """(S, D) what items are scored against: s + p_u."""
        states = states if self.project is None else self.project(states)
        return states if told.vector is None else states + told.vector

    def loss(
        self,
        states: Tensor,
        offset: Tensor,
        batch: Batch,
        table: Tensor | Tower,
        bias: Tensor,
        sampler: NegativeSampler,
    ) -> Tensor:
        """The configured loss, a scalar, of (T, D) `states` and (T,) b_u that each predict one target of a batch."""
        table, bias = self.scorer(table, bias)
        if not self.reads_values:
            by = sampled_losses.bce if self.config.interest_loss == "bce" else sampled_losses.squared
            targets, weights = batch.targets, batch.target_weights
            return against_negatives(by, states, targets, weights, table, bias, sampler, self.config)
        assert batch.target_values is not None
        wanted = self.scale(batch.target_values)
        known = ~wanted.isnan()
        vectors, offsets = item_rows(batch.targets, table, bias, self.config.touches_rows)
        logits = (states * vectors).sum(1) + offsets + offset
        loss = losses.interest_mse if self.config.interest_loss == "mse" else losses.interest_bce
        of_values = loss(logits[known], wanted[known].clamp(0, 1), batch.target_weights[known])
        squares = (states**2).sum(1) + (vectors**2).sum(1)
        return of_values + self.config.interest_decay * losses.weighted_mean(squares, batch.target_weights)


@dataclass(frozen=True)
class Told:
    """What past values say of histories, any encoder aside.

    Attributes:
        vector: (S, D) p_u, or None. offset: (S,) b_u.
    """

    vector: Tensor | None
    offset: Tensor

    def of(self, places: Tensor) -> Told:
        """Of some of them."""
        return Told(None if self.vector is None else self.vector[places], self.offset[places])


def _running(values: Tensor, lengths: Tensor) -> Tensor:
    """(N, ...) the sum of each row's values up to and including each step."""
    total = torch.cat([values.new_zeros(1, *values.shape[1:], dtype=torch.float64), values.double().cumsum(0)])
    before = total[lengths.cumsum(0) - lengths].repeat_interleave(lengths, 0)
    return (total[1:] - before).to(values.dtype)


def upgraded(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors with the names they have here, those of a head without sums over the history included.

    Such a head had its range and the input of values alone; zeros for the rest leave it what it was.
    """
    renamed = {OLD_NAMES.get(name, name): tensor for name, tensor in state.items()}
    if renamed.keys() == state.keys():
        return renamed
    missing = [name for name in wanted if name.startswith("interest_head.") and name not in renamed]
    return renamed | {name: torch.zeros_like(wanted[name]) for name in missing}
