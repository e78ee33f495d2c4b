"""Negative items for sampled losses, shared by a batch, and how likely each was to be there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onward.data.sequences import Ints


@dataclass(frozen=True)
class Negatives:
    """A batch's negatives, each item once.

    Attributes:
        items: (K,) int64, ascending and distinct.
        counts: (K,) float32 times that each was drawn.
        log_included: (K,) float32 log-probability that the item is among a batch's negatives at all.
    """

    items: Tensor
    counts: Tensor
    log_included: Tensor

    def to(self, device: torch.device) -> Negatives:
        """The same negatives on a device."""
        return Negatives(self.items.to(device), self.counts.to(device), self.log_included.to(device))


class NegativeSampler:
    """Draws items in proportion to training events ** power: 0 is uniform over items seen in training, 1 popularity."""

    def __init__(self, train_counts: Ints, power: float) -> None:
        self.train_counts, self.power = torch.from_numpy(train_counts), power
        self.cumulative = torch.cumsum(self._weights(self.train_counts), 0)
        self.total, self.n_events = float(self.cumulative[-1]), int(train_counts.sum())
        self.last = int(self.train_counts.nonzero().max())

    def draw(self, n: int, targets: Tensor | None = None, generator: torch.Generator | None = None) -> Negatives:
        """`n` draws with replacement, and with `targets` ((T,) int64) these as well: a batch's own answers.

        A target is as likely as its share of the training events, and is no negative of its own prediction, so T - 1
        others count towards the probability that an item is there.
        """
        points = torch.rand(n, generator=generator, dtype=torch.float64) * self.total
        drawn = torch.searchsorted(self.cumulative, points, right=True).clamp_(max=self.last)
        if targets is not None:
            drawn = torch.cat([drawn, targets.cpu()])
        items, counts = torch.unique(drawn, return_counts=True)
        events = self.train_counts[items]
        missed = n * _log_not(self._weights(events) / self.total)
        if targets is not None:
            missed += (len(targets) - 1) * _log_not(events / self.n_events)
        return Negatives(items, counts.float(), torch.log(-torch.expm1(missed)).float())

    def _weights(self, counts: Tensor) -> Tensor:
        return torch.where(counts > 0, counts.double() ** self.power, 0.0)


def _log_not(probability: Tensor) -> Tensor:
    """Log of 1 - probability, finite where an item is certain."""
    return torch.log1p(-probability.double().clamp(max=1 - 1e-12))
