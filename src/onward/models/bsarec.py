"""BSARec: self-attention beside a filter of frequencies (Shin et al., AAAI 2024, arXiv:2312.10325).

Self-attention averages, so deep states lose what changes fast in a history. A block therefore also splits its input by
a discrete Fourier transform over the steps, and rescales what is above the lowest frequencies by a learned gain:

    filtered = norm(x + low(x) + gain^2 * (x - low(x)))
    attended = norm(x + attention(x))
    y        = alpha * filtered + (1 - alpha) * attended,    then a feed-forward layer

Attention is causal here as in the authors' code, but the filter sees the whole history, so only the newest state may
predict: histories train as prefixes (`train.windows`), one target a row, which is also what the authors do.

What differs from the authors' code, and why: the transform is taken over each history's own steps and not over rows
padded to one length, so that padding changes nothing (`cutoff` waves in a history of 8 events are faster than in one of
50); the gain starts at one, where the filter passes everything, and not at a random number; no dropout inside
attention, so that the fused kernel serves. Positions count from the newest step, as padding on the left makes them do.

Legend: B rows, L steps, D width, K waves.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models.base import Traits
from onward.models.newest import Asked, at_steps
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sasrec import Block, SASRec, SASRecConfig
from onward.space import Choice, Range


class BSARecConfig(SASRecConfig):
    """Settings of BSARec."""

    feed_forward: Annotated[int, Choice((4, 2, 1))] = Field(4, ge=1)
    """Width of the feed-forward layer, in multiples of the width."""
    alpha: Annotated[float, Range(0.1, 0.9)] = Field(0.7, ge=0, le=1)
    """Weight of the filter; the rest is attention's."""
    cutoff: Annotated[int, Choice((5, 3, 7))] = Field(5, ge=1)
    """Lowest frequencies of a history that count as low, those of waves in both directions (c in the paper)."""


class FrequencyBlock(Block):
    """Filter and attention side by side, then a feed-forward layer; each is normalised after it was added."""

    def __init__(self, config: BSARecConfig) -> None:
        super().__init__(config)
        self.alpha = config.alpha
        self.filter_norm = nn.LayerNorm(config.width)
        self.gain = nn.Parameter(torch.ones(config.width))

    def forward(  # type: ignore[override]
        self, x_BLD: Tensor, waves_BLK: Tensor, seen: Tensor | None = None, asked: Asked | None = None
    ) -> Tensor:
        """(B, L, D), and the low waves of each row (`low_waves`), to (B, L, D); `seen` and `asked` as in `Block`."""
        mixed_BLD = self._drop(self._attend(x_BLD, seen, asked))
        low_BLD = at_steps(waves_BLK, asked) @ (waves_BLK.mT @ x_BLD)
        x_BLD = at_steps(x_BLD, asked)
        attended = self.attention_norm(x_BLD + mixed_BLD)
        filtered = self.filter_norm(x_BLD + self._drop(low_BLD + self.gain.square() * (x_BLD - low_BLD)))
        mixed = self.alpha * filtered + (1 - self.alpha) * attended
        out: Tensor = self.forward_norm(mixed + self._drop(self.narrow(F.gelu(self.widen(mixed)))))
        return out


class BSARec(SASRec):
    """Self-attention beside a filter of the frequencies in a history."""

    name = "bsarec"
    Config = BSARecConfig
    traits = Traits(trainable=True, ordered=True, causal=False, windows=("prefix",))
    block = FrequencyBlock
    config: BSARecConfig

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; each may depend on its whole row, and on nothing after the row's length."""
        x_BLD, waves_BLK = self._begin(inputs_BLD, rows)
        for block in self.blocks:
            x_BLD = block(x_BLD, waves_BLK)
        return x_BLD

    def newest_states(self, inputs_BLD: Tensor, rows: Rows, newest: Asked) -> Tensor:
        """As in `NewestAlone`."""
        x_BLD, waves_BLK = self._begin(inputs_BLD, rows)
        *earlier, final = self.blocks
        for block in earlier:
            x_BLD = block(x_BLD, waves_BLK)
        seen = None if rows.full else rows.real[:, None, None, :]
        states_B1D: Tensor = final(x_BLD, waves_BLK, seen, newest)
        return states_B1D

    def _begin(self, inputs_BLD: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """(B, L, D) what the first block reads, and (B, L, K) the low waves of the rows."""
        length = inputs_BLD.shape[1]
        age_BL = rows.lengths[:, None] - 1 - torch.arange(length, device=inputs_BLD.device)
        x_BLD = self.norm(inputs_BLD + self.position[age_BL.clamp(min=0)])
        x_BLD = dropout(x_BLD, self.config.dropout, self.training)
        return x_BLD, low_waves(rows.lengths, length, self.config.cutoff).to(x_BLD.dtype)


def low_waves(lengths: Tensor, longest: int, cutoff: int) -> Tensor:
    """The waves whose span is what passes an ideal low-pass filter: (B, L, K) float32, orthonormal in each row.

    Row b's discrete Fourier transform over its `lengths[b]` steps, cut to the lowest `cutoff` of its two-sided
    frequencies (an even number of them counts the same as the odd one above), is `waves[b] @ waves[b].T`. Waves are
    zero after the row's length, and where a row is too short to hold them.

    Args:
        lengths: (B,) int64, at least 1. longest: L, at least every length.
    """
    count = lengths[:, None, None].to(torch.float32)
    step = torch.arange(longest, device=lengths.device, dtype=torch.float32)[:, None]
    frequency = torch.arange(cutoff // 2 + 1, device=lengths.device, dtype=torch.float32)
    angle = 2 * math.pi / count * step * frequency
    alone = (frequency == 0) | (2 * frequency == count)  # a cosine without a sine: the mean, and plus, minus, plus...
    cosine = torch.cos(angle) * torch.where(alone, 1 / count, 2 / count).sqrt()
    sine = torch.sin(angle) * (2 / count).sqrt()
    cosine, sine = cosine.where(2 * frequency <= count, 0.0), sine.where((2 * frequency < count) & ~alone, 0.0)
    return torch.cat([cosine, sine[..., 1:]], 2).where(step < count, 0.0)
