"""Random: a fixed shuffle of the catalog for each history, the floor of every comparison.

The score of an item is a hash (splitmix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators",
OOPSLA 2014) of the seed, the items of the history (as a multiset) and the item itself. The same history so gets
the same list, alone or in a batch, today or tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.base import ModelConfig, Recommender, Traits


class RandomConfig(ModelConfig):
    """Random has no settings; its seed is the run's."""


class Random(Recommender):
    """Uniform scores in [0, 1)."""

    name = "random"
    Config = RandomConfig
    traits = Traits()

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Take the seed; the training events teach nothing."""
        self.seed = torch.tensor(seed, dtype=torch.int64)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        # an item's own number is its tie rank, a hash of its id: renumbering the catalog changes no list
        keys = _mix(self.items.tie_rank.astype(np.uint64) + np.uint64(self.seed.item()))
        _, positions = histories.positions()
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(keys[histories.item[positions]])])
        ends = np.cumsum(histories.lengths)
        history = _mix(sums[ends] - sums[ends - histories.lengths])  # (B,); unsigned sums wrap, differences are right
        bits = _mix(history[:, None] ^ keys[None, :]) >> np.uint64(40)
        return torch.from_numpy(bits.astype(np.float32) / np.float32(1 << 24))

    def state(self) -> dict[str, Tensor]:
        """`seed`: () int64."""
        return {"seed": self.seed}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.seed = state["seed"]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 of each value; overflow wraps by definition of the hash."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
