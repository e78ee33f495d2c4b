"""HSTU: gated attention without softmax, aware of time (Zhai et al., ICML 2024, arXiv:2402.17152).

A block mixes the history by attention weights that are each their own, not shares of one, so that how much of
something there was isn't normalised away; what comes out is normalised, gated, and added to what came in:

    U, V, Q, K = silu(W norm(x))
    A[i, j]    = silu(Q[i] K[j] + position[i - j] + time[bucket(asked[i] - t[j])]) / (i + 1)    for j <= i
    y          = x + O (norm(A V) * U)

`asked[i]` is when the answer after event i is wanted, where the model is told (`split.request_time`), else t[i]. Time
differences fall into two buckets a doubling, from one second on. Events without times count as simultaneous.

What differs from the authors' code, and why: weights are divided by the number of visible events and not by the
padded length, so that padding changes nothing; time buckets grow by some 1.41 instead of 1.35, which is read off the
bits of a float; scores are inner products with item biases and not cosines, and the loss is the whole-catalog
cross-entropy, as in the other models; the time bias starts at zero and what a block adds starts small. The authors
always tell the target's time.

Legend: B rows, L steps, D width, H heads.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.errors import ConfigError
from onward.models.base import Traits
from onward.models.features.times import time_buckets
from onward.models.newest import Asked, NewestAlone, at_steps
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sequence import SequenceConfig
from onward.space import Choice

CHUNK_WEIGHTS = 4_000_000
"""Attention weights of one block held at once, about (16 MB of float32)."""


class HSTUConfig(SequenceConfig):
    """Settings of HSTU."""

    blocks: Annotated[int, Choice((2, 1, 3, 4))] = Field(2, ge=1)
    """Blocks of gated attention."""
    heads: Annotated[int, Choice((1, 2, 4))] = Field(1, ge=1)
    """Attention heads; they divide the width."""
    time_buckets: int = Field(64, ge=2)
    """Buckets of time differences, two a doubling from a second on; the last also holds all that is longer (64: from
    some 100 years on)."""


class HSTUBlock(nn.Module):
    """One layer of gated attention."""

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.rate = config.heads, config.dropout
        self.norm, self.mixed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gate_value_query_key = nn.Linear(width, 4 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.position_bias = nn.Parameter(torch.empty(config.max_length))
        self.time_bias = nn.Parameter(torch.empty(config.time_buckets))

    def forward(
        self,
        x_BLD: Tensor,
        distance_LL: Tensor,
        bucket_BLL: Tensor,
        share_LL: Tensor,
        asked: Asked | None = None,
    ) -> Tensor:
        """(B, L, D) to (B, L, D); with `asked`, only the result of one step of each row: (B, 1, D).

        Args:
            distance_LL: (L, L) int64 steps from j to i. bucket_BLL: (B, L, L) int64 bucket of the time from j to i.
            share_LL: (L, L) what a weight is multiplied by: 1 / (i + 1), and 0 where j is after i. With `asked` each is
                of that step alone: (B or 1, 1, L).
        """
        normed_BLD = self.norm(x_BLD)
        if asked is None:
            gate_BLD, value, query, key = F.silu(self.gate_value_query_key(normed_BLD)).chunk(4, 2)
        else:
            of_gate, of_value, of_query, of_key = self.gate_value_query_key.weight.chunk(4)
            newest_B1D = at_steps(normed_BLD, asked)
            gate_BLD, query = F.silu(F.linear(newest_B1D, of_gate)), F.silu(F.linear(newest_B1D, of_query))
            value, key = F.silu(F.linear(normed_BLD, of_value)), F.silu(F.linear(normed_BLD, of_key))
        value, query, key = (x.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for x in (value, query, key))
        bias_BLL = _picked(self.position_bias, distance_LL) + _picked(self.time_bias, bucket_BLL)
        weights_BHLL = F.silu(query @ key.transpose(2, 3) + bias_BLL[:, None]) * share_LL.unsqueeze(-3)
        mixed_BLD = (weights_BHLL @ value).transpose(1, 2).flatten(2)
        gated_BLD = dropout(self.mixed_norm(mixed_BLD) * gate_BLD, self.rate, self.training)
        added_BLD: Tensor = self.project(gated_BLD)
        return at_steps(x_BLD, asked) + added_BLD


def _picked(numbers: Tensor, places: Tensor) -> Tensor:
    """(...) those of (n,) numbers that stand at some places. On a GPU many gradients of one number are added by the
    kernel of embeddings, which is reproducible without adding one by one."""
    if places.device.type == "cpu":
        return numbers.index_select(0, places.flatten()).view_as(places)
    return F.embedding(places, numbers[:, None]).squeeze(-1)


class HSTU(NewestAlone):
    """Hierarchical sequential transduction unit: gated attention that knows how long ago each event was."""

    name = "hstu"
    Config = HSTUConfig
    traits = Traits(trainable=True, ordered=True, timed=True)

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """Positions, blocks, final norm."""
        assert isinstance(config, HSTUConfig)
        if config.width % config.heads:
            raise ConfigError(f"model.heads = {config.heads} does not divide model.width = {config.width}")
        self.heads, self.time_buckets = config.heads, config.time_buckets
        self.position = nn.Parameter(torch.empty(config.max_length, config.width))
        self.blocks = nn.ModuleList(HSTUBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def initialise(self) -> None:
        """What a block adds starts small, so that a state starts as its own item and not as an average of all."""
        super().initialise()
        for block in self.blocks:
            assert isinstance(block, HSTUBlock)
            nn.init.normal_(block.project.weight, std=0.02)

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; what stands after a row's length never reaches an earlier step."""
        return self._run(inputs_BLD, rows)

    def newest_states(self, inputs_BLD: Tensor, rows: Rows, newest: Asked) -> Tensor:
        """As in `NewestAlone`."""
        return self._run(inputs_BLD, rows, newest)

    def _run(self, inputs_BLD: Tensor, rows: Rows, asked: Asked | None = None) -> Tensor:
        """(B, L, D) states; with `asked` (B, 1, D) of one step of each row."""
        length, width = inputs_BLD.shape[1:]
        x_BLD = inputs_BLD * math.sqrt(width) + self.position[:length]
        x_BLD = dropout(x_BLD, self.config.dropout, self.training)
        step = torch.arange(length, device=x_BLD.device)
        distance_LL = step[:, None] - step
        share_LL = (distance_LL >= 0) / (step[:, None] + 1)
        bucket_BLL = self._buckets(rows)
        distance_LL = distance_LL.clamp(min=0)
        some = max(1, CHUNK_WEIGHTS // (self.heads * length * length))
        states = []
        for first in range(0, len(x_BLD), some):
            chunk = slice(first, first + some)
            of_chunk = asked[chunk] - first * length if isinstance(asked, Tensor) else asked
            states.append(self._states(x_BLD[chunk], distance_LL, bucket_BLL[chunk], share_LL, of_chunk))
        return torch.cat(states)

    def _states(
        self, x_BLD: Tensor, distance_LL: Tensor, bucket_BLL: Tensor, share_LL: Tensor, asked: Asked | None
    ) -> Tensor:
        *earlier, final = self.blocks
        for block in earlier:
            x_BLD = block(x_BLD, distance_LL, bucket_BLL, share_LL)
        if asked is not None:
            step = asked % len(share_LL) if isinstance(asked, Tensor) else asked
            distance_LL, share_LL = (of_steps[step].unsqueeze(-2) for of_steps in (distance_LL, share_LL))
        states_BLD: Tensor = self.norm(final(x_BLD, distance_LL, at_steps(bucket_BLL, asked), share_LL, asked))
        return states_BLD

    def _buckets(self, rows: Rows) -> Tensor:
        """(B, L, L) int64 bucket of the time from step j to when the answer after step i is wanted."""
        times, asked = rows.batch.times, rows.batch.request_times
        if times is None:
            b, length = rows.real.shape
            return rows.lengths.new_zeros(b, length, length)
        times_BL = rows.padded(times)
        asked_BL = times_BL if asked is None else rows.padded(asked)
        return time_buckets(asked_BL[:, :, None] - times_BL[:, None, :], self.time_buckets)
