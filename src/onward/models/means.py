"""Means as models of interest: of all training events, of the history, of the item.

What every model of interest must beat. Each answers for any history: one without values is given the mean of all.

Shapes: B requests, V items.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from onward.data.sequences import Histories, Ints
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.values import learned_range, means_by, valued_events


class MeanConfig(ModelConfig):
    """A mean has no settings."""


class _Mean(Recommender):
    """What the three share: the range of values, the mean of all training events and that of each item."""

    Config = MeanConfig
    traits = Traits(valued=True)

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Take the means. Raises ConfigError for training events without values."""
        value_range = learned_range(training, f"model '{self.name}'")
        events = valued_events(training, value_range)
        overall = float(events.interest.mean())
        self.bounds = torch.tensor(value_range, dtype=torch.float64)
        self.overall = torch.tensor(overall, dtype=torch.float64)
        self.of_items = torch.from_numpy(means_by(events.item, events.interest, self.items.n + 1, overall))

    @property
    def value_range(self) -> tuple[float, float]:
        """The values that interest 0 and 1 stand for."""
        low, high = self.bounds.tolist()
        return low, high

    @abstractmethod
    def broadcast(self, histories: Histories) -> Tensor:
        """(B, V + 1) or anything that broadcasts to it."""

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32: the interest in every item."""
        return self.broadcast(histories).float().expand(len(histories), self.items.n + 1).clone()

    def interest(self, histories: Histories, items: Ints) -> Tensor:
        """(B,) float32."""
        row = torch.arange(len(histories))
        return self.score_histories(histories)[row, torch.from_numpy(items)]

    def state(self) -> dict[str, Tensor]:
        """`bounds` (2,), `overall` (), `of_items` (V + 1,), all float64."""
        return {"bounds": self.bounds, "overall": self.overall, "of_items": self.of_items}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.bounds, self.overall, self.of_items = state["bounds"], state["overall"], state["of_items"]


class GlobalMean(_Mean):
    """Interest: the mean of all training events, whoever asks and whatever for."""

    name = "global-mean"

    def broadcast(self, histories: Histories) -> Tensor:
        """() the one number."""
        return self.overall


class UserMean(_Mean):
    """Interest: the mean of the history's own values."""

    name = "user-mean"

    def broadcast(self, histories: Histories) -> Tensor:
        """(B, 1)."""
        events = valued_events(histories, self.value_range)
        mean = means_by(events.row, events.interest, len(histories), float(self.overall))
        return torch.from_numpy(mean)[:, None]


class ItemMean(_Mean):
    """Interest: the mean of the item's training events."""

    name = "item-mean"

    def broadcast(self, histories: Histories) -> Tensor:
        """(V + 1,)."""
        return self.of_items
