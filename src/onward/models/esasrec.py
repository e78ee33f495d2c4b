"""eSASRec: SASRec with LiGR blocks (Tikhonovich et al., RecSys 2025, arXiv:2508.06450).

A LiGR block (Borisyuk et al., 2025, arXiv:2502.03417) weighs what each sub-layer adds by a gate that looks at what came
in, and its feed-forward layer is a SwiGLU (Shazeer, 2020, arXiv:2002.05202):

    x' = x + sigmoid(W x + b) * attention(norm(x))
    y  = x' + sigmoid(V x' + c) * narrow(silu(G norm(x')) * widen(norm(x')))

What differs from the paper, and why: the whole-catalog cross-entropy by default, which costs little up to some ten
thousand items; the paper's sampled softmax is `model.loss=sampled_softmax`, and right for larger catalogs. Final norm,
positions and dropout are those of `sasrec`, so that the two differ in their blocks alone.

Legend: D width, F width of the feed-forward layer.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models.sasrec import Block, SASRec, SASRecConfig
from onward.native import transformer as native
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

    def add(self, x: Tensor, mixed: Tensor) -> Tensor:
        """As `Block.add`, each part weighed by a gate that looks at what came in."""
        x = x + self.attention_gate(x).sigmoid() * self._drop(mixed)
        gate, value = self.widen(self.forward_norm(x)).chunk(2, dim=-1)
        inner = self._drop(F.silu(gate) * value)
        added: Tensor = self.forward_gate(x).sigmoid() * self._drop(self.narrow(inner))
        return x + added

    def weights(self) -> native.Block:
        """As `Block.weights`."""
        gates = native.Gates(native.layer(self.attention_gate), native.layer(self.forward_gate))
        gate, value = self.widen.weight.chunk(2)
        return super().weights()._replace(widen=((gate, None), (value, None)), gates=gates)


class ESASRec(SASRec):
    """SASRec with gated residuals and SwiGLU feed-forward layers."""

    name = "esasrec"
    Config = ESASRecConfig
    block = LiGRBlock
