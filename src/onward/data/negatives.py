"""Negative items for sampled losses, with the log-probability of drawing each."""

from __future__ import annotations

import torch
from torch import Tensor

from onward.data.sequences import Ints


class NegativeSampler:
    """Draws items in proportion to training events ** power: 0 is uniform over items seen in training, 1 popularity.

    Attributes:
        log_q: (V + 1,) float32 log-probability of each item; -inf for one never drawn.
    """

    def __init__(self, train_counts: Ints, power: float) -> None:
        counts = torch.from_numpy(train_counts).double()
        weights = torch.where(counts > 0, counts**power, 0.0)
        self.cumulative = torch.cumsum(weights / weights.sum(), 0)
        self.log_q = torch.log(weights / weights.sum()).float()

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """(n,) int64 items, drawn with replacement."""
        points = torch.rand(n, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, points, right=True).clamp_(max=len(self.log_q) - 1)
