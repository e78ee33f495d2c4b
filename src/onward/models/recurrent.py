"""RNN, LSTM and GRU over the history.

Elman (1990), "Finding structure in time"; Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al.
(2000); Cho et al. (2014). As recommenders: Hidasi et al. (ICLR 2016, arXiv:1511.06939). The LSTM is the standard one:

    i, f, o = sigmoid(W x + U h + b)    g = tanh(W x + U h + b)    c' = f c + i g    h' = o tanh(c')

What differs from GRU4Rec: whole histories in one row, trained through time, instead of session-parallel batches of
single steps; item vectors are multiplied by the root of their width where they enter; the loss is an option.

Legend: B rows, L steps, D width, V items.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.errors import ConfigError
from onward.models.base import Traits
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sequence import SequenceConfig, SequenceModel
from onward.space import Choice

MAX_ONEHOT_ITEMS = 20_000


class RecurrentConfig(SequenceConfig):
    """Settings of RNN, LSTM and GRU."""

    width: Annotated[int, Choice((100, 128, 256, 64))] = Field(100, ge=1)
    """Width of item vectors, hidden state and output."""
    layers: Annotated[int, Choice((1, 2))] = Field(1, ge=1)
    """Recurrent layers, each on top of the one before."""
    input: Literal["embedding", "onehot"] = "embedding"
    """Items enter as learned vectors, or one-hot straight into the gates (small catalogs; needs a separate output)."""


class OneHot(nn.Module):
    """Mean of the one-hot vectors of each step's items."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items

    def forward(self, items: Tensor, bags: Tensor | None) -> Tensor:
        """(M,) items, and (N,) first member of each step or None when each step is one item, to (N, V + 1)."""
        if bags is None:
            return F.one_hot(items, self.n_items + 1).float()
        sizes = torch.diff(bags, append=bags.new_tensor([len(items)]))
        steps = torch.repeat_interleave(torch.arange(len(bags), device=items.device), sizes)
        vectors = torch.zeros(len(bags), self.n_items + 1, device=items.device)
        return vectors.index_put_((steps, items), 1.0 / sizes[steps].float(), accumulate=True)


class Recurrent(SequenceModel):
    """What the three share; a subclass names its cell."""

    Config = RecurrentConfig
    traits = Traits(trainable=True, ordered=True)
    item_optimiser = "adagrad"  # under AdamW it takes epochs until the gates can tell rare items apart
    cell: ClassVar[type[nn.RNN | nn.LSTM | nn.GRU]]

    def make_input(self, config: SequenceConfig, n_items: int) -> nn.Module:
        """Learned vectors, or one-hot."""
        assert isinstance(config, RecurrentConfig)
        if config.input == "embedding":
            return super().make_input(config, n_items)
        if config.output == "tied" or config.learns_interest:
            raise ConfigError(
                "model.input = 'onehot' has no item vectors to tie the output to, nor to add values to",
                "use --set model.output=separate and a ranking loss",
            )
        if n_items > MAX_ONEHOT_ITEMS:
            raise ConfigError(f"model.input = 'onehot' takes at most {MAX_ONEHOT_ITEMS} items, not {n_items}")
        return OneHot(n_items)

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """The recurrent layers."""
        assert isinstance(config, RecurrentConfig)
        width_in = config.width if config.input == "embedding" else n_items + 1
        # item vectors start tiny: as they are, it takes epochs until the gates tell items apart
        self.scale = math.sqrt(config.width) if config.input == "embedding" else 1.0
        self.recurrent = self.cell(width_in, config.width, config.layers, batch_first=True)

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) hidden states; what stands after a row's length never reaches an earlier step."""
        states_BLD, _ = self.recurrent(dropout(inputs_BLD * self.scale, self.config.dropout, self.training))
        return dropout(states_BLD, self.config.dropout, self.training)


class RNN(Recurrent):
    """The simple recurrent network: h' = tanh(W x + U h + b)."""

    name = "rnn"
    cell = nn.RNN


class LSTM(Recurrent):
    """Long short-term memory."""

    name = "lstm"
    cell = nn.LSTM


class GRU(Recurrent):
    """Gated recurrent unit."""

    name = "gru"
    cell = nn.GRU
