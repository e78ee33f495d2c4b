"""eSASRec: SASRec with LiGR blocks (Tikhonovich et al., RecSys 2025, arXiv:2508.06450).

A LiGR block (Borisyuk et al., 2025, arXiv:2502.03417) weighs what each sub-layer adds by a gate that looks at what came
in, and its feed-forward layer is a SwiGLU (Shazeer, 2020, arXiv:2002.05202):

    x' = x + sigmoid(W x + b) * attention(norm(x))
    y  = x' + sigmoid(V x' + c) * narrow(silu(G norm(x')) * widen(norm(x')))

What differs from the paper, and why: the whole-catalog cross-entropy by default, which costs little up to some ten
thousand items; the paper's sampled softmax is `model.loss=sampled_softmax`, and right for larger catalogs. Final norm,
positions and dropout are those of `sasrec`, so that the two differ in their blocks alone.

Legend: B rows, L steps, D width, F width of the feed-forward layer.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models.newest import Asked, at_steps
from onward.models.sasrec import Block, SASRec, SASRecConfig
from onward.space import Choice


class ESASRecConfig(SASRecConfig):
    """Settings of eSASRec."""

    feed_forward: Annotated[int, Choice((4, 2, 1))] = Field(4, ge=1)
    """Width of the feed-forward layer, in multiples of the width."""


class LiGRBlock(Block):
    """Attention and SwiGLU feed-forward, each on normalised input, each gated and added to what came in."""

    def __init__(self, config: SASRecConfig) -> None:
        super().__init__(config)
        width, inner = config.width, config.feed_forward * config.width
        self.attention_gate, self.forward_gate = nn.Linear(width, width), nn.Linear(width, width)
        self.widen = nn.Linear(width, 2 * inner, bias=False)
        self.narrow = nn.Linear(inner, width, bias=False)

    def forward(self, x_BLD: Tensor, seen: Tensor | None = None, asked: Asked | None = None) -> Tensor:
        """As `Block.forward`."""
        mixed_BLD = self._attend(self.attention_norm(x_BLD), seen, asked)
        x_BLD = at_steps(x_BLD, asked)
        x_BLD = x_BLD + self.attention_gate(x_BLD).sigmoid() * self._drop(mixed_BLD)
        gate_BLF, value_BLF = self.widen(self.forward_norm(x_BLD)).chunk(2, dim=2)
        inner_BLF = self._drop(F.silu(gate_BLF) * value_BLF)
        added_BLD: Tensor = self.forward_gate(x_BLD).sigmoid() * self._drop(self.narrow(inner_BLF))
        return x_BLD + added_BLD


class ESASRec(SASRec):
    """SASRec with gated residuals and SwiGLU feed-forward layers."""

    name = "esasrec"
    Config = ESASRecConfig
    block = LiGRBlock
