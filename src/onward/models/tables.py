"""Item tables: one learned vector an item.

Legend: M members, N steps, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ItemVectors(nn.Module):
    """One learned vector an item; a step of several items is their mean.

    Args:
        sparse: whether the gradient holds the rows of a batch's items only.
    """

    def __init__(self, n_items: int, width: int, sparse: bool) -> None:
        super().__init__()
        self.weight, self.sparse = nn.Parameter(torch.empty(n_items + 1, width)), sparse

    def forward(self, items: Tensor, bags: Tensor | None) -> Tensor:
        """(M,) items, and (N,) first member of each step or None when each step is one item, to (N, D)."""
        if bags is None:
            return F.embedding(items, self.weight, sparse=self.sparse)
        return F.embedding_bag(items, self.weight, bags, mode="mean", sparse=self.sparse)
