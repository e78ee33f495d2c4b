"""Content-kNN: the items most like those of the history, by their features alone.

Lops, de Gemmis, Semeraro: "Content-based Recommender Systems", Recommender Systems Handbook, 2011,
https://doi.org/10.1007/978-0-387-85820-3_3. Items need no event: what any model with features has to beat on them.

What an item's vector is made of is in `features/content.py`. V items, D numbers, B requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from onward.data.sequences import Histories
from onward.errors import ConfigError, unknown
from onward.models.base import Items, ModelConfig, Recommender, Traits
from onward.models.features.content import KINDS, content_block, unit
from onward.models.features.vector_column import encoder_for
from onward.models.matrix import recent
from onward.space import Choice


class ContentKNNConfig(ModelConfig):
    """Settings of content-knn."""

    features: Literal["all"] | tuple[str, ...] = "all"
    """Columns of the items that are compared: all that can be, or some by name."""
    encoder: str | None = None
    """Of texts: minilm, static, ngrams or a folder; absent: the one that fits the texts."""
    recency: Annotated[float, Choice((2.0, 0.0, 0.5, 1.0, 4.0, 8.0, 16.0))] = Field(2.0, ge=0)
    """Events (or baskets) after which an item of the history counts half; 0: all count the same."""


class ContentKNN(Recommender):
    """Scores an item by the cosine of its features' vector and the mean of the history's, recent ones counting more."""

    name = "content-knn"
    Config = ContentKNNConfig
    traits = Traits(ordered=True, unseen=True)
    config: ContentKNNConfig

    def __init__(self, config: ContentKNNConfig, items: Items) -> None:
        super().__init__(config, items)
        self._notes: list[str] = []

    @property
    def notes(self) -> list[str]:
        """Which encoder each text got, and why."""
        return self._notes

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Make the items' vectors; events teach it nothing. Raises ConfigError without columns to compare."""
        blocks = []
        for values, kind in self._columns():
            encoder = self.config.encoder or ""
            if kind == "text" and not encoder:
                encoder, note = encoder_for(values)
                self._notes.append(f"items {values.name}: {note}")
            blocks.append(content_block(values, kind, encoder))
        self.vectors = F.pad(torch.from_numpy(unit(np.concatenate(blocks, axis=1))), (0, 0, 1, 0))  # row 0: padding

    def _columns(self) -> list[tuple[pl.Series, str]]:
        """The columns to compare, and their kinds."""
        table, kinds = self.items.table, self.items.kinds
        usable = {name: kind for name, kind in kinds.items() if kind in KINDS}
        if table is None or not usable:
            raise ConfigError(
                "model 'content-knn' compares the features of items, and these have no text, category, set or vector",
                "prepare with an item table: --items FILE",
            )
        asked = usable if self.config.features == "all" else self.config.features
        for name in asked:
            if name not in usable:
                raise ConfigError(unknown("item feature", name, usable), f"kinds that can be compared: {KINDS}")
        return [(table[name], usable[name]) for name in asked]

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 cosines."""
        weights: Any = recent(histories, self.config.recency)
        means = torch.from_numpy((weights @ self.vectors.numpy()).astype(np.float32))
        return F.normalize(means, dim=1) @ self.vectors.T

    def state(self) -> dict[str, Tensor]:
        """`vectors`: (V + 1, D) float32."""
        return {"vectors": self.vectors}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.vectors = state["vectors"]
