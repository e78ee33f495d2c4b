"""The head that learns interest: how much a history will value one item, in [0, 1].

    interest = sigmoid(4.5 (v_i - 0.5) + a_i + s . q_i)

v_i is what past values say of item i in closed form (`value_process`), so that an encoder has only the rest to learn: s
is its state, q_i and a_i the item's vector and bias. With model.interest_factors = 0 there is no v_i: the state then
also says a level w . s, the history's whatever the item, and a_i starts at the item's mean. Past values are input of
the encoder too: a step's item vector has r x_j and its value added, r being the value less the item's mean and x_j a
second vector of the item.

What it is learned from is the value column, or which events happened: the item that came is 1, items drawn in its
place are 0, as many in weight; there are then no past values.

Legend: N steps, S steps asked, T targets, D width, V items, F factors of the closed form.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.negatives import NegativeSampler
from onward.data.sequences import Histories
from onward.models import losses, sampled_losses
from onward.models.base import Items
from onward.models.features.tower import Tower
from onward.models.objective import ObjectiveConfig, against_negatives, item_rows
from onward.models.tables import ItemVectors
from onward.models.value_process import Told, ValueProcess
from onward.models.values import learned_range, valued_events

ITEM_PRIOR = 5.0
"""Events at the mean of all that are added to each item before its mean is taken."""
SLOPE = 4.5
"""sigmoid(4.5 (v - 0.5)) is nowhere further than 0.03 from v between 0.1 and 0.9."""


class InterestHead(nn.Module):
    """What a sequence model needs beside its encoder to learn interest.

    Args:
        own: whether it scores items by vectors and biases of its own, a second head beside one that ranks.
        ordered: whether a step may read only what came before it; else past values are input of the encoder alone.

    Attributes:
        bounds: (2,) the values that interest 0 and 1 stand for.
        item_means: (V + 1,) mean interest of each item in training.
        process: the closed form, or None.
    """

    bounds: Tensor
    item_means: Tensor

    def __init__(self, config: ObjectiveConfig, width: int, n_items: int, own: bool, ordered: bool) -> None:
        super().__init__()
        self.config, self.reads_values = config, config.interest_of == "values"
        self.process: ValueProcess | None = None
        if self.reads_values:
            self.value_input = nn.Parameter(torch.zeros(width))
            self.valued = ItemVectors(n_items, width, config.touches_rows)
            self.register_buffer("bounds", torch.tensor([0.0, 1.0]))
            self.register_buffer("item_means", torch.zeros(n_items + 1))
            if ordered and config.interest_factors > 0:
                self.process = ValueProcess(config, n_items)
        self.level = nn.Linear(width, 1, bias=False) if self.reads_values and self.process is None else None
        self.project = nn.Linear(width, width) if own else None
        self.items = ItemVectors(n_items, width, config.touches_rows) if own else None
        self.bias = nn.Parameter(torch.zeros(n_items + 1)) if own else None

    def start(self, training: Histories, items: Items, bias: nn.Parameter, seed: int) -> None:
        """Take from the training events the range of values and what is known of items.

        Without a closed form `bias`, (V + 1,), starts at the items' means.
        """
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
        if self.process is not None:
            self.process.start(training, items, seed)
            return
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
        """What each row's values say after some steps, (S,) int64, or after every step; of zeros where nothing does."""
        if self.process is None or batch.values is None:
            steps = batch.n_steps if places is None else len(places)
            zeros = torch.zeros(steps, self.extra + 1, device=batch.items.device)
            return Told(zeros[:, 1:], zeros[:, 0])
        told = self.process.told(self.scale(batch.values).clamp(0, 1), batch)
        told = Told(SLOPE * told.vector, SLOPE * told.offset)
        return told if places is None else told.at(places)

    def _beyond(self, batch: Batch) -> Tensor:
        """(N,) r: each step's value less the mean of its items; 0 where it is missing."""
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

    def table(self, table: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(V + 1, D + F) vectors and (V + 1,) biases that answers are scored against, of finished tables."""
        vectors, biases = self.scorer(table, bias)
        assert isinstance(vectors, Tensor)
        return self.rows(vectors, biases, slice(None))

    def rows(self, vectors: Tensor, biases: Tensor, items: Tensor | slice) -> tuple[Tensor, Tensor]:
        """(n, D + F) and (n,): vectors and biases of some items and what past values say of them; 0 is unknown."""
        if self.process is None:
            return vectors, biases
        return torch.cat([vectors, self.process.vectors[items]], 1), biases + self._of_items(self.process)[items]

    @property
    def extra(self) -> int:
        """F."""
        return 0 if self.process is None else self.process.vectors.shape[1]

    def states(self, states: Tensor) -> Tensor:
        """(S, D) s, of the encoder's states."""
        return states if self.project is None else self.project(states)

    def levels(self, states: Tensor) -> Tensor:
        """(S,) what (S, D) s say whatever the item."""
        return states.new_zeros(len(states)) if self.level is None else self.level(states).squeeze(1)

    def _of_items(self, process: ValueProcess) -> Tensor:
        return SLOPE * (process.of_items() - 0.5)

    def loss(
        self,
        states: Tensor,
        told: Told,
        batch: Batch,
        table: Tensor | Tower,
        bias: Tensor,
        sampler: NegativeSampler,
    ) -> Tensor:
        """The configured loss, a scalar, of T states, (T, D), and what was told: each predicts one target."""
        table, bias = self.scorer(table, bias)
        if not self.reads_values:
            by = sampled_losses.bce if self.config.interest_loss == "bce" else sampled_losses.squared
            targets, weights = batch.targets, batch.target_weights
            return against_negatives(by, states, targets, weights, table, bias, sampler, self.config)
        assert batch.target_values is not None
        wanted = self.scale(batch.target_values)
        known = ~wanted.isnan()
        vectors, offsets = item_rows(batch.targets, table, bias, self.config.touches_rows)
        logits = (states * vectors).sum(1) + offsets + told.offset + self.levels(states)
        if self.process is not None:
            of_history = (told.vector * F.embedding(batch.targets, self.process.vectors)).sum(1)
            logits = logits + of_history + self._of_items(self.process)[batch.targets]
        loss = losses.interest_mse if self.config.interest_loss == "mse" else losses.interest_bce
        of_values = loss(logits[known], wanted[known].clamp(0, 1), batch.target_weights[known])
        squares = (states**2).sum(1) + (vectors**2).sum(1)
        return of_values + self.config.interest_decay * losses.weighted_mean(squares, batch.target_weights)
