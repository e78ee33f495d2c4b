"""LRURec: linear recurrent units (Yue et al., WSDM 2024, arXiv:2310.02367; the unit: Orvieto et al., ICML 2023,
arXiv:2303.06349).

A unit's memory is complex, and each number of it decays and turns at its own rate, whatever the input is:

    h[t] = lambda h[t - 1] + gamma (B x[t])        y[t] = real(C h[t])

Since that is linear, all steps of a row are found together, by doubling: first in pairs, then in fours, and so on. When
answering, a history of any length is a state of constant size (`Stepwise`).

What differs from the authors' code, and why: layer norm before each part instead of after it, as in `sasrec`, where it
trains faster; nothing on padding, which is on the right here and so comes after everything; what a block adds starts
small; the real part of C is one real matrix.

Legend: B rows, L steps, D width, S complex numbers of a unit's memory.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models.base import Traits
from onward.models.newest import Asked, NewestAlone, at_steps
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sequence import SequenceConfig
from onward.space import Choice

SLOWEST, FASTEST = 0.99, 0.8
"""Absolute values of lambda start between these."""


class LRURecConfig(SequenceConfig):
    """Settings of LRURec."""

    blocks: Annotated[int, Choice((2, 1, 3))] = Field(2, ge=1)
    """Blocks of a linear recurrent unit and a feed-forward layer."""
    memory: Annotated[int, Choice((2, 1))] = Field(2, ge=1)
    """Complex numbers that a unit remembers, in multiples of the width."""
    feed_forward: int = Field(4, ge=1)
    """Width of the feed-forward layer, in multiples of the width."""


def scan(inputs_BLS: Tensor, decay_S: Tensor) -> Tensor:
    """(B, L, S) complex h[t] = decay h[t - 1] + input[t] of (B, L, S) complex inputs and (S,) complex decays."""
    states: Tensor = _Scan.apply(inputs_BLS, decay_S)  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    """The gradient of a linear recurrence is one too, from the last step to the first."""

    @staticmethod
    def forward(ctx: Any, inputs_BLS: Tensor, decay_S: Tensor) -> Tensor:
        states_BLS = _doubling(inputs_BLS, decay_S)
        ctx.save_for_backward(states_BLS, decay_S)
        return states_BLS

    @staticmethod
    def backward(ctx: Any, grad_BLS: Tensor) -> tuple[Tensor, Tensor]:
        states_BLS, decay_S = ctx.saved_tensors
        grad_inputs_BLS = _doubling(grad_BLS, decay_S.conj().resolve_conj(), backwards=True)
        grad_decay_S = (grad_inputs_BLS[:, 1:] * states_BLS[:, :-1].conj()).sum((0, 1))
        return grad_inputs_BLS, grad_decay_S


def _doubling(inputs_BLS: Tensor, decay_S: Tensor, backwards: bool = False) -> Tensor:
    """`scan` in log2(L) rounds: the second half of each span takes over what the first half ended with.

    Backwards it is the recurrence from the last step to the first.
    """
    b, length, size = inputs_BLS.shape
    padded = 1 << (length - 1).bit_length()
    states = F.pad(inputs_BLS, (0, 0, 0, padded - length)).contiguous()
    powers = decay_S[None]  # decay to the power of 1, 2, ... half
    half = 1
    while half < padded:
        spans = states.view(b, padded // (2 * half), 2 * half, size)
        if backwards:
            spans[:, :, :half].add_(spans[:, :, half : half + 1] * powers.flip(0))
        else:
            spans[:, :, half:].add_(spans[:, :, half - 1 : half] * powers)
        powers = torch.cat([powers, powers * powers[-1]])
        half *= 2
    return states[:, :length]


class LRUBlock(nn.Module):
    """Linear recurrent unit and feed-forward layer, each on normalised input, each added to what came in."""

    def __init__(self, config: LRURecConfig) -> None:
        super().__init__()
        width, inner = config.width, config.feed_forward * config.width
        self.size, self.rate = config.memory * width, config.dropout
        self.unit_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into = nn.Linear(width, 2 * self.size)
        self.out = nn.Linear(2 * self.size, width)
        self.decay_log, self.turn_log, self.gain_log = (nn.Parameter(torch.empty(self.size)) for _ in range(3))
        self.widen, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)

    def initialise(self) -> None:
        """Lambda uniform on a ring, gamma so that what is remembered has the scale of what comes in."""
        with torch.no_grad():
            square = torch.empty(self.size).uniform_(FASTEST**2, SLOWEST**2)
            self.decay_log.copy_(torch.log(-0.5 * square.log()))
            self.turn_log.copy_(torch.empty(self.size).uniform_(0, 2 * math.pi).log())
            self.gain_log.copy_(0.5 * torch.log1p(-square))
        for added in (self.out, self.narrow):  # a state starts as its own item
            nn.init.normal_(added.weight, std=0.02)

    def forward(self, x_BLD: Tensor, asked: Asked | None = None) -> Tensor:
        """(B, L, D) to (B, L, D); with `asked`, only the result of one step of each row: (B, 1, D)."""
        memory_BLS = scan(self._read(x_BLD), self._decay())
        return self._feed(at_steps(x_BLD, asked), at_steps(memory_BLS, asked))

    def advance(self, x_BD: Tensor, memory_BS: Tensor) -> tuple[Tensor, Tensor]:
        """One step: (B, D) and (B, S) complex to the same."""
        memory_BS = self._decay() * memory_BS + self._read(x_BD)
        return self._feed(x_BD, memory_BS), memory_BS

    def _decay(self) -> Tensor:
        """(S,) complex lambda, of absolute value below 1."""
        return torch.exp(torch.complex(-self.decay_log.exp(), self.turn_log.exp()))

    def _read(self, x: Tensor) -> Tensor:
        """(..., D) to the (..., S) complex numbers that enter the memory."""
        gain = self.gain_log.exp().repeat_interleave(2)  # in the weights it costs nothing
        pairs = F.linear(self.unit_norm(x), self.into.weight * gain[:, None], self.into.bias * gain)
        return torch.view_as_complex(pairs.view(*x.shape[:-1], self.size, 2))

    def _feed(self, x: Tensor, memory: Tensor) -> Tensor:
        """(..., D) input and (..., S) complex memory to the (..., D) output."""
        x = x + dropout(self.out(torch.view_as_real(memory).flatten(-2)), self.rate, self.training)
        inner = dropout(F.gelu(self.widen(self.forward_norm(x))), self.rate, self.training)
        added: Tensor = dropout(self.narrow(inner), self.rate, self.training)
        return x + added


class LRURec(NewestAlone):
    """Linear recurrent units: trained in parallel, and a state of constant size for histories without end."""

    name = "lrurec"
    Config = LRURecConfig
    traits = Traits(trainable=True, ordered=True)

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """Blocks and final norm; the order of events is in the recurrence, so there are no positions."""
        assert isinstance(config, LRURecConfig)
        self.blocks = nn.ModuleList(LRUBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def initialise(self) -> None:
        """As the others, and the units on their ring."""
        super().initialise()
        for block in self._blocks():
            block.initialise()

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; what stands after a row's length never reaches an earlier step."""
        x_BLD = self._enter(inputs_BLD)
        for block in self._blocks():
            x_BLD = block(x_BLD)
        states_BLD: Tensor = self.norm(x_BLD)
        return states_BLD

    def newest_states(self, inputs_BLD: Tensor, rows: Rows, newest: Asked) -> Tensor:
        """As in `NewestAlone`."""
        x_BLD = self._enter(inputs_BLD)
        *earlier, final = self._blocks()
        for block in earlier:
            x_BLD = block(x_BLD)
        states_B1D: Tensor = self.norm(final(x_BLD, newest))
        return states_B1D

    def start_state(self, rows: int) -> Tensor:
        """(B, S) float32 state of as many histories in which nothing happened; see `Stepwise`."""
        return self.output_bias.new_zeros(rows, sum(2 * block.size for block in self._blocks()))

    def advance(self, state_BS: Tensor, vectors_BD: Tensor) -> tuple[Tensor, Tensor]:
        """One more step of each history: the next state, and the (B, D) state to answer from; see `Stepwise`."""
        x_BD, memories = self._enter(vectors_BD), []
        for block, part in zip(self._blocks(), state_BS.chunk(len(self.blocks), 1), strict=True):
            x_BD, memory = block.advance(x_BD, torch.view_as_complex(part.view(-1, block.size, 2)))
            memories.append(torch.view_as_real(memory).flatten(1))
        return torch.cat(memories, 1), self.norm(x_BD)

    def _enter(self, vectors: Tensor) -> Tensor:
        # scaled so that the blocks don't drown the item vectors, which start tiny
        return dropout(vectors * math.sqrt(vectors.shape[-1]), self.config.dropout, self.training)

    def _blocks(self) -> list[LRUBlock]:
        return [block for block in self.blocks if isinstance(block, LRUBlock)]
