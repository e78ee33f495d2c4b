"""Personal frequency: each history's own most frequent items, most recent first among equals, then the popular ones.

Where people come back to what they had (groceries, music) this is the baseline to beat: Hu et al., "Modeling
Personalized Item Frequency Information for Next-basket Recommendation", SIGIR 2020, arXiv:2006.00556; Li et al., "A
Next Basket Recommendation Reality Check", TOIS 2023, arXiv:2109.14233. It works from the history alone, so that it
holds nothing of any user, and only helps where seen items may be recommended again.

Legend: B histories, V items, E distinct items of all histories together.
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
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.matrix import group_numbers, weighted
from onward.space import Choice


class PersonalFrequencyConfig(ModelConfig):
    """Settings of personal-frequency."""

    half_life: Annotated[float | None, Choice((None, 2.0, 5.0, 10.0, 20.0, 50.0))] = Field(None, gt=0)
    """Events (or baskets) after which an event counts half; absent: all events of the history count the same."""


class PersonalFrequency(Recommender):
    """Scores an item of the history by its place among them, 1 for the rarest, and the others by popularity below 1."""

    name = "personal-frequency"
    Config = PersonalFrequencyConfig
    traits = Traits(ordered=True)
    config: PersonalFrequencyConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Count the events, those of the target action where there is one."""
        _, positions = training.positions()
        positions = positions[targets_of(training)[positions]]
        counts = np.bincount(training.item[positions], minlength=self.items.n + 1)
        self.popularity = torch.from_numpy((counts / (1 + counts.max(initial=0))).astype(np.float32))

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        scores = self.popularity.repeat(len(histories), 1)
        rows, positions = histories.positions()
        group, owner = group_numbers(histories, rows, positions)
        age = np.searchsorted(owner, rows, side="right") - 1 - group
        counts = np.ones(len(rows)) if self.config.half_life is None else np.exp2(-age / self.config.half_life)
        frequency = weighted(histories, rows, positions, counts.astype(np.float32))  # (B, V + 1), sparse
        newest = np.full(frequency.nnz, age.max(initial=0))
        row = np.repeat(np.arange(len(histories)), np.diff(frequency.indptr))
        width = self.items.n + 1
        entry = np.searchsorted(row * width + frequency.indices, rows * width + histories.item[positions])
        np.minimum.at(newest, entry, age)
        keys = (self.popularity.numpy()[frequency.indices], -newest, frequency.data, row)
        scores[torch.from_numpy(row), torch.from_numpy(frequency.indices).long()] = torch.from_numpy(_places(keys))
        return scores

    def state(self) -> dict[str, Tensor]:
        """`popularity`: (V + 1,) float32, share of the most popular item's training events, below 1."""
        return {"popularity": self.popularity}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.popularity = state["popularity"]


def _places(keys: tuple[np.ndarray, ...]) -> np.ndarray:
    """(E,) float32 place of each entry within its row, from 1 for the lowest; the same for entries with the same keys.

    `keys`: (E,) arrays, the row last, the more important ones after the less important.
    """
    order = np.lexsort(keys)
    ordered = np.stack([key[order] for key in keys])
    number = np.arange(len(order))
    starts = np.ones(len(order), dtype=np.bool_)
    starts[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    starts_row = np.ones(len(order), dtype=np.bool_)
    starts_row[1:] = ordered[-1, 1:] != ordered[-1, :-1]
    first = np.maximum.accumulate(np.where(starts, number, 0))
    places = np.empty(len(order), dtype=np.float32)
    places[order] = 1 + first - np.maximum.accumulate(np.where(starts_row, number, 0))
    return places
