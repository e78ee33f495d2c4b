"""NextItNet: a causal, dilated convolutional network (Yuan et al., WSDM 2019, arXiv:1808.05163).

Residual blocks of two convolutions, the second at twice the dilation of the first, each padded on the left only
so that a step never sees a later one. What differs: right-padded rows, and the loss is an option.

Legend: B rows, L steps, D width.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models.base import Traits
from onward.models.noise import dropout
from onward.models.rows import Rows
from onward.models.sequence import SequenceConfig, SequenceModel
from onward.space import Choice


class NextItNetConfig(SequenceConfig):
    """Settings of NextItNet."""

    kernel: Annotated[int, Choice((3, 2, 5))] = Field(3, ge=2)
    """Steps that one convolution sees."""
    dilations: tuple[int, ...] = (1, 4)
    """Dilation of each residual block's first convolution; the second has twice as much."""


class CausalConvolution(nn.Module):
    """A dilated convolution over a step and those before it."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.convolution = nn.Conv1d(width, width, kernel, dilation=dilation)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        convolved: Tensor = self.convolution(F.pad(x_BLD.transpose(1, 2), (self.reach, 0)))
        return convolved.transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two causal convolutions, each followed by layer norm and ReLU, added to what came in."""

    def __init__(self, config: NextItNetConfig, dilation: int) -> None:
        super().__init__()
        self.first = CausalConvolution(config.width, config.kernel, dilation)
        self.second = CausalConvolution(config.width, config.kernel, 2 * dilation)
        self.first_norm, self.second_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        inner = F.relu(self.first_norm(self.first(x_BLD)))
        return x_BLD + F.relu(self.second_norm(self.second(inner)))


class NextItNet(SequenceModel):
    """A simple convolutional generative network for next item recommendation."""

    name = "nextitnet"
    Config = NextItNetConfig
    traits = Traits(trainable=True, ordered=True)

    def build(self, config: SequenceConfig, n_items: int) -> None:
        """The residual blocks."""
        assert isinstance(config, NextItNetConfig)
        self.blocks = nn.Sequential(*(ResidualBlock(config, dilation) for dilation in config.dilations))

    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states; what stands after a row's length never reaches an earlier step."""
        # item vectors start tiny: at scale one they aren't drowned by what the blocks add
        scaled_BLD = inputs_BLD * math.sqrt(inputs_BLD.shape[2])
        states_BLD: Tensor = self.blocks(dropout(scaled_BLD, self.config.dropout, self.training))
        return dropout(states_BLD, self.config.dropout, self.training)
