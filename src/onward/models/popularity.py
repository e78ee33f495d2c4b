"""Popularity: the same list for everyone, by how often each item occurs in the training events.

The baseline every personalised model must beat. With a half-life an event counts less the older it is, which
on most logs is the stronger baseline (Ji, Sun, Zhang, Li: "A Re-visit of the Popularity Baseline in
Recommender Systems", SIGIR 2020, https://arxiv.org/abs/2005.13829).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from onward.data.sequences import Histories
from onward.data.targets import targets_of
from onward.errors import ConfigError
from onward.models.base import ModelConfig, Recommender, Traits
from onward.space import Choice

DAY = 86_400_000_000
"""Microseconds."""


class PopularityConfig(ModelConfig):
    """Settings of popularity."""

    half_life_days: Annotated[float | None, Choice((None, 1.0, 7.0, 30.0, 90.0, 365.0))] = Field(None, gt=0)
    """Days before the end of training after which an event counts half; absent: all events count the same."""


class Popularity(Recommender):
    """Scores an item by log(1 + the weight of its training events), of the target action where there is one."""

    name = "popularity"
    Config = PopularityConfig
    traits = Traits()
    config: PopularityConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Count the events. Raises ConfigError for a half-life on data without times."""
        _, positions = training.positions()
        positions = positions[targets_of(training)[positions]]
        weights = None
        if self.config.half_life_days is not None:
            if training.time is None:
                raise ConfigError(
                    f"half_life_days = {self.config.half_life_days} needs event times, and this data set has none",
                    "leave half_life_days out",
                )
            time = training.time[positions]
            age = (time.max(initial=0) - time) / (DAY * self.config.half_life_days)
            weights = np.exp2(-age)
        counts = np.bincount(training.item[positions], weights, minlength=self.items.n + 1)
        self.scores = torch.from_numpy(np.log1p(counts).astype(np.float32))

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32: every row the same."""
        return self.scores.repeat(len(histories), 1)

    def state(self) -> dict[str, Tensor]:
        """`scores`: (V + 1,) float32."""
        return {"scores": self.scores}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.scores = state["scores"]
