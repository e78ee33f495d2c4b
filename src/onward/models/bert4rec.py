"""BERT4Rec: a transformer that looks both ways and fills in hidden events (Sun et al., CIKM 2019, arXiv:1904.06690).

In training a share of a history's events is hidden behind one learned vector, the mask, and predicted from all others;
in a few rows only the newest is hidden, as every answer needs it. To answer, the mask is put after the history.

What differs from the paper, and why: blocks and norms are those of `sasrec`, so that the two differ in what they see
and learn alone, and no further layer stands before the output; positions count from the newest step, where the answer
stands, and not from the oldest; the window moves on to the rest of a long history by whole windows, not by single
steps. The loss is the whole-catalog cross-entropy as in the paper; what re-implementations lost by training too
short or on fewer items is in Petrov and Macdonald, RecSys 2022, arXiv:2207.02483.

Legend: B rows, L steps, N steps of all rows, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from onward.data.batch import Batch
from onward.errors import ConfigError
from onward.models.base import Traits
from onward.models.features.layer import times_before
from onward.models.noise import dropout, generator
from onward.models.rows import Rows
from onward.models.sasrec import SASRec, SASRecConfig
from onward.models.sequence import SequenceConfig
from onward.space import Range


class BERT4RecConfig(SASRecConfig):
    """Settings of BERT4Rec."""

    hidden: Annotated[float, Range(0.1, 0.6)] = Field(0.2, gt=0, lt=1)
    """Share of a history's steps that are hidden in training, and predicted."""
    newest_only: float = Field(0.1, ge=0, le=1)
    """Share of the rows in which only the newest step is hidden."""


class BERT4Rec(SASRec):
    """Bidirectional self-attention that learns by filling in hidden events."""

    name = "bert4rec"
    Config = BERT4RecConfig
    traits = Traits(trainable=True, ordered=True, causal=False, windows=("all", "last"), cloze=True)
    item_optimiser = "adagrad"  # a row has few hidden events to learn items from
    config: BERT4RecConfig

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """As SASRec's, and one position more, for the mask after a history."""
        super().build(config, n_items)
        if config.contrastive > 0:
            raise ConfigError(
                "model.contrastive contrasts what comes next, and 'bert4rec' learns what is hidden",
                "leave it out, or choose another model",
            )
        self.position = nn.Parameter(torch.empty(config.max_length + 1, config.width))

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; each sees every real step of its row."""
        age_BL = rows.lengths[:, None] - 1 - torch.arange(inputs_BLD.shape[1], device=inputs_BLD.device)
        # positions are scaled as items are: a mask finds its neighbours by nothing but their positions
        x_BLD = (inputs_BLD + self.position[age_BL.clamp(min=0)]) * inputs_BLD.shape[2] ** 0.5
        x_BLD = dropout(x_BLD, self.config.dropout, self.training)
        for block in self.blocks:
            x_BLD = block(x_BLD, rows.real[:, None, None, :])
        states_BLD: Tensor = self.norm(x_BLD)
        return states_BLD

    def loss(self, batch: Batch) -> Tensor:
        """The configured loss over the steps that are hidden, of a batch in which each step is its own target."""
        hidden_N = self._hide(batch)
        rows = Rows(batch)
        inputs_ND = self._vectors(batch).where(~hidden_N[:, None], self._mask(batch))
        states_ND = rows.flat(self.encode(rows.padded(inputs_ND), rows))
        hidden = batch.targets_at(hidden_N)
        if batch.times is not None:  # what is asked for at a hidden step comes after the step before it
            hidden = replace(hidden, times=times_before(batch))
        asked, owners = hidden.asked()
        return self._loss_at(states_ND if asked is None else states_ND[hidden.after_events(asked)], hidden, owners)

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D) for each step the state at a mask after its row."""
        steps = torch.arange(batch.n_steps, device=batch.lengths.device)
        row_N = batch.row_of_step
        longer = Rows(batch, more=1)
        inputs = self._mask(batch).repeat(len(steps) + len(batch.lengths), 1)
        inputs = inputs.index_copy(0, steps + row_N, self._vectors(batch))
        states = longer.flat(self.encode(longer.padded(inputs), longer))
        return states[longer.lengths.cumsum(0) - 1][row_N[places]]

    def _mask(self, batch: Batch) -> Tensor:
        """(1, D) what stands for a hidden step: the vector of the padding, which is no item."""
        vector: Tensor = self.input(batch.items.new_zeros(1), batch.items.new_zeros(1))
        return vector

    def _hide(self, batch: Batch) -> Tensor:
        """(N,) bool: steps to hide, at least one of each row."""
        lengths = batch.lengths
        drawn = torch.rand(batch.n_steps + len(lengths), generator=generator()).to(lengths.device)
        newest_only_B = drawn[: len(lengths)] < self.config.newest_only
        row_N = batch.row_of_step
        hidden_N = (drawn[len(lengths) :] < self.config.hidden) & ~newest_only_B[row_N]
        none_B = torch.zeros_like(lengths).index_add(0, row_N, hidden_N.long()) == 0
        hidden_N[(lengths.cumsum(0) - 1)[none_B]] = True
        return hidden_N
