"""Many features of one thing, fused into its vector by a gated sum.

    fused = base + sigmoid(G base + b) * (sum of the embeddings of all codes + numbers P)

The gate is a number for each of the vector's, and looks at the base alone: what is known of an item by its id says how
much its features still add (gated units: Arevalo et al., 2017, arXiv:1702.01992). All columns share one table of
embeddings and one projection, so that their number costs little.

Legend: n things, C columns, P codes, Q numbers a thing, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.models import noise
from onward.models.features.column import MISSING, UNKNOWN, Expanded
from onward.models.features.columns import Column

STD = 0.02
"""Of embeddings and projections at the start, as of item vectors."""


class Inputs(NamedTuple):
    """What the block reads of n things.

    Attributes:
        codes: (n, P) int64 rows of the embedding table; 0 is none.
        shares: (n, P) float32, a code's weight: 1, or 1 / members in a set.
        numbers: (n, Q) float32.
    """

    codes: Tensor
    shares: Tensor
    numbers: Tensor

    def rows(self, chosen: Tensor) -> Inputs:
        """Some of the things, (m,) int64."""
        return Inputs(*(part.index_select(0, chosen) for part in self))


class FeatureBlock(nn.Module):
    """The features of one kind of thing.

    Args:
        columns: fitted; at least one.
        width: D.
        rate: share of (thing, column) pairs that is left out in training.
    """

    code_column: Tensor
    number_column: Tensor
    offsets: Tensor

    def __init__(self, columns: Sequence[Column], width: int, rate: float) -> None:
        super().__init__()
        self.columns, self.rate = list(columns), rate
        places = [column.places for column in columns]
        first = torch.tensor([0, *(max(0, column.codes - 1) for column in columns)]).cumsum(0)
        self.embedding = nn.Parameter(torch.randn(int(first[-1]) + 1, width) * STD)
        self.project = nn.Parameter(torch.randn(sum(column.numbers for column in columns), width) * STD)
        self.gate = nn.Linear(width, width)
        number = torch.arange(len(columns))
        self.register_buffer("code_column", number.repeat_interleave(torch.tensor(places)), persistent=False)
        numbers = torch.tensor([column.numbers for column in columns])
        self.register_buffer("number_column", number.repeat_interleave(numbers), persistent=False)
        self.register_buffer("offsets", first[:-1].repeat_interleave(torch.tensor(places)), persistent=False)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.zero_()
            self.embedding[0] = 0
            for column, begin in zip(columns, first.tolist(), strict=False):
                if column.codes:
                    self.embedding[begin + UNKNOWN] = 0  # training never has it: it says nothing
                    self.embedding[begin + MISSING] = 0

    def inputs(self, expanded: Sequence[Expanded], size: int) -> Inputs:
        """What each column expanded to, in the order of the columns, as one."""
        device = self.offsets.device
        codes = torch.cat([codes for codes, _ in expanded if codes is not None] or [torch.zeros(size, 0).long()], 1)
        numbers = [numbers for _, numbers in expanded if numbers is not None]
        pairs = zip(self.columns, expanded, strict=True)
        shares = [_shares(column, codes) for column, (codes, _) in pairs if codes is not None]
        return Inputs(
            torch.where(codes > 0, codes + self.offsets, 0),
            torch.cat(shares or [torch.zeros(size, 0, device=device)], 1),
            torch.cat(numbers or [torch.zeros(size, 0, device=device)], 1),
        )

    def forward(self, base: Tensor, inputs: Inputs) -> Tensor:
        """(n, D) the base vectors and the features of the same things, fused."""
        codes, shares, numbers = inputs
        if self.training and self.rate > 0:
            drawn = torch.rand(len(base), len(self.columns), generator=noise.generator())
            kept = (drawn >= self.rate).to(shares)
            shares = shares * kept.index_select(1, self.code_column)
            numbers = numbers * kept.index_select(1, self.number_column)
        summed = numbers @ self.project
        if codes.shape[1]:
            summed = summed + F.embedding_bag(codes, self.embedding, mode="sum", per_sample_weights=shares)
        return base + torch.sigmoid(self.gate(base)) * summed


def _shares(column: Column, codes: Tensor) -> Tensor:
    """Each member of a set counts for its share of it; several codes of another kind each count in full."""
    there = (codes > 0).float()
    return there / there.sum(1, keepdim=True).clamp(min=1) if column.kind == "categories" else there
