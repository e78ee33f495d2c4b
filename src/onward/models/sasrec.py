"""SASRec: a causal transformer over the history (Kang and McAuley, ICDM 2018, arXiv:1808.09781).

What differs from the paper, and why: layer norm before each sub-layer and once at the end (trains without
tuning warm-up); keys and values are normalised like queries; no dropout inside attention, so that the fused
kernel serves; rows are padded on the right, where causal attention never looks, and positions count from the
start of the window; the whole-catalog cross-entropy by default (the paper's BCE with one negative is an option,
and clearly weaker: Klenitskiy and Vasilev, RecSys 2023, arXiv:2309.07602).

Legend: B rows, L steps, D width, H heads, E width of a head.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.errors import ConfigError
from onward.models.attention import attention, fold
from onward.models.base import Traits
from onward.models.compiled import CompiledTransformer
from onward.models.newest import Asked, at_steps
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sequence import SequenceConfig
from onward.native import transformer as native
from onward.space import Choice


class SASRecConfig(SequenceConfig):
    """Settings of SASRec."""

    blocks: Annotated[int, Choice((2, 1, 3))] = Field(2, ge=1)
    """Transformer blocks."""
    heads: Annotated[int, Choice((1, 2, 4))] = Field(1, ge=1)
    """Attention heads; they divide the width."""
    feed_forward: Annotated[int, Choice((1, 2, 4))] = Field(1, ge=1)
    """Width of the feed-forward layer, in multiples of the width."""


class Block(nn.Module):
    """Attention and feed-forward, each on normalised input, each added to what came in."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.rate = config.heads, config.dropout
        self.attention_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.widen = nn.Linear(width, config.feed_forward * width)
        self.narrow = nn.Linear(config.feed_forward * width, width)

    def forward(self, x_BLD: Tensor, seen: Tensor | None = None, asked: Asked | None = None) -> Tensor:
        """(B, L, D) to (B, L, D); causal, or over the steps that `seen` ((B, 1, 1, L) bool) marks.

        With `asked`, only the result of one step of each row: (B, 1, D).
        """
        mixed = self._attend(self.attention_norm(x_BLD), seen, asked)
        return self.add(at_steps(x_BLD, asked), mixed)

    def add(self, x: Tensor, mixed: Tensor) -> Tensor:
        """(..., D) what came in with what attention mixed, and then the feed-forward layer's part, added."""
        x = x + self._drop(mixed)
        inner = self._drop(F.gelu(self.widen(self.forward_norm(x))))
        return x + self._drop(self.narrow(inner))

    def in_graph(self, x_ND: Tensor, real_BL: Tensor, newest_B: Tensor | None) -> Tensor:
        """`forward` in the fewest nodes of a graph, over B x L = N steps that lie flat.

        Args:
            real_BL: bool, false on padding. newest_B: int64, the places to give results of; None for all, causal.
        """
        rows, steps = real_BL.shape
        normed_ND = self.attention_norm(x_ND)
        normed_BLD = normed_ND.view(rows, steps, -1)
        if newest_B is None and self.heads > 1:  # folded, each head would be as wide as the model
            return self.add(x_ND, self._attend(normed_BLD).flatten(0, 1))
        folded, scale = fold(self.query_key_value, self.project, self.heads), (x_ND.shape[1] // self.heads) ** -0.5
        if newest_B is None:
            query_BQD, seen = F.linear(normed_ND, *folded.query).view(rows, steps, -1), None
        else:
            x_ND, asked_BD = x_ND.index_select(0, newest_B), normed_ND.index_select(0, newest_B)
            query_BQD, seen = F.linear(asked_BD, *folded.query).unsqueeze(1), real_BL[:, None, None, :]
        mixed_BQD = attention(query_BQD, normed_BLD, normed_BLD, self.heads, seen, newest_B is None, scale, 1)
        return self.add(x_ND, F.linear(mixed_BQD.flatten(0, 1), *folded.mixed))

    def weights(self) -> native.Block:
        """The same as the compiled code reads it."""
        weight, bias = self.query_key_value.weight.chunk(3), self.query_key_value.bias.chunk(3)
        return native.Block(
            attention_norm=native.layer(self.attention_norm),
            query=(weight[0], bias[0]),
            key=(weight[1], bias[1]),
            value=(weight[2], bias[2]),
            project=native.layer(self.project),
            forward_norm=native.layer(self.forward_norm),
            widen=(native.layer(self.widen),),
            narrow=native.layer(self.narrow),
            gates=None,
        )

    def _attend(self, x_BLD: Tensor, seen: Tensor | None = None, asked: Asked | None = None) -> Tensor:
        if asked is not None:
            mixed = self._mix_asked(x_BLD, seen, asked)
        else:
            query, key, value = self.query_key_value(x_BLD).chunk(3, 2)
            mixed = attention(query, key, value, self.heads, seen, seen is None)
        projected: Tensor = self.project(mixed)
        return projected

    def _mix_asked(self, x_BLD: Tensor, seen: Tensor | None, asked: Asked) -> Tensor:
        """(B, 1, D) attention of one step of each row, for which no other step's key or value is made.

        With key = K x + c and value = V x + v, query . key = (K' query) . x + a constant that the softmax takes out,
        and what is mixed of the values is V (what is mixed of the steps) + v.
        """
        width, heads = x_BLD.shape[2], self.heads
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        key_HED, value_HED = (part.view(heads, -1, width) for part in weight[width:].chunk(2))
        query_B1D = F.linear(at_steps(x_BLD, asked), weight[:width], bias[:width])
        query_HBE = query_B1D.view(-1, heads, width // heads).transpose(0, 1)
        by_step_BHD = (query_HBE @ key_HED).transpose(0, 1)
        mixed_BHD = attention(by_step_BHD, x_BLD, x_BLD, 1, seen, False, (width // heads) ** -0.5)
        mixed_HBE = mixed_BHD.transpose(0, 1) @ value_HED.mT
        return mixed_HBE.transpose(0, 1).flatten(1).unsqueeze(1) + bias[2 * width :]

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate, self.training)


class SASRec(CompiledTransformer):
    """Self-attentive sequential recommendation."""

    name = "sasrec"
    Config = SASRecConfig
    traits = Traits(trainable=True, ordered=True)
    block: ClassVar[type[Block]] = Block

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """Positions, blocks, final norm."""
        assert isinstance(config, SASRecConfig)
        if config.width % config.heads:
            raise ConfigError(f"model.heads = {config.heads} does not divide model.width = {config.width}")
        self.position = nn.Parameter(torch.empty(config.max_length, config.width))
        self.blocks = nn.ModuleList(self.block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def initialise(self) -> None:
        """What a block adds starts small, so that a state starts as its own item and not as an average of all."""
        super().initialise()
        for block in self.blocks:
            assert isinstance(block, Block)
            for added in (block.project, block.narrow):
                nn.init.normal_(added.weight, std=0.02)

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; what stands after a row's length never reaches an earlier step."""
        x_BLD = self._placed(inputs_BLD)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        states_BLD: Tensor = self.norm(x_BLD)
        return states_BLD

    def newest_states(self, inputs_BLD: Tensor, rows: Rows, newest: Asked) -> Tensor:
        """As in `NewestAlone`."""
        x_BLD = self._placed(inputs_BLD)
        *earlier, final = self.blocks
        if torch.compiler.is_exporting():
            assert isinstance(newest, Tensor)
            return self._in_graph(x_BLD, rows.real, newest).unsqueeze(1)
        for block in earlier:
            x_BLD = block(x_BLD)
        seen = None if rows.full else rows.real[:, None, None, :]
        states_B1D: Tensor = self.norm(final(x_BLD, seen, newest))
        return states_B1D

    def _in_graph(self, x_BLD: Tensor, real_BL: Tensor, newest_B: Tensor) -> Tensor:
        """(B, D) states of the newest steps, in the fewest nodes of a graph."""
        x_ND, last = x_BLD.flatten(0, 1), len(self.blocks) - 1
        for place, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x_ND = block.in_graph(x_ND, real_BL, newest_B if place == last else None)
        states_BD: Tensor = self.norm(x_ND)
        return states_BD

    def weights(self) -> native.Weights:
        """As in `CompiledTransformer`."""
        blocks = [block for block in self.blocks if isinstance(block, Block)]
        last = blocks[-1]
        folded = fold(last.query_key_value, last.project, last.heads)
        return native.Weights(
            self.position, [block.weights() for block in blocks], *folded, native.layer(self.norm), last.heads
        )

    def _placed(self, inputs_BLD: Tensor) -> Tensor:
        """Item vectors with their positions."""
        # scaled as in the paper; without it the blocks drown the item vectors, which start tiny, and learning is slow
        x_BLD = inputs_BLD * math.sqrt(inputs_BLD.shape[2]) + self.position[: inputs_BLD.shape[1]]
        return dropout(x_BLD, self.config.dropout, self.training)
