"""Content-kNN: the items most like those of the history, by their features alone.

Lops, de Gemmis, Semeraro: "Content-based Recommender Systems", Recommender Systems Handbook, 2011,
https://doi.org/10.1007/978-0-387-85820-3_3. Items need no event: what any model with features has to beat on them.

Each column of the items becomes a block of numbers of length one (zero where it is missing): texts through an encoder,
categories and sets as hashed bags, vectors as they are. Numbers and times, which say little about likeness without
being weighed against the rest, are left out. An item's vector is its blocks side by side, at length one. V items, D
numbers, B requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from onward.data.sequences import Histories
from onward.errors import ConfigError, unknown
from onward.models.base import Items, ModelConfig, Recommender, Traits
from onward.models.features.columns import bucket, encoder_for, members, vectors_of
from onward.models.matrix import recent
from onward.space import Choice

KINDS = ("text", "category", "categories", "vector")
BAG_WIDTH = 512
"""Numbers of a hashed bag."""

Floats = NDArray[np.float32]


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
            blocks.append(_unit(_block(values, kind, encoder)))
        self.vectors = F.pad(torch.from_numpy(_unit(np.concatenate(blocks, axis=1))), (0, 0, 1, 0))  # row 0: padding

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


def _block(values: pl.Series, kind: str, encoder: str) -> Floats:
    """(V, d) float32 of one column; zero where it is missing."""
    if kind in ("text", "vector"):
        known = values.is_not_null().to_numpy()
        given = vectors_of(values.drop_nulls(), encoder if kind == "text" else "")
        vectors = np.zeros((len(values), given.shape[1]), np.float32)
        vectors[known] = given
        return vectors
    return _bags(members(values) if kind == "categories" else values.cast(pl.String).reshape((-1, 1)).arr.to_list())


def _bags(sets: pl.Series) -> Floats:
    """(V, BAG_WIDTH) float32: each value adds 1 or -1 at a place, by a hash of it."""
    row = np.repeat(np.arange(len(sets)), sets.list.len().fill_null(0).to_numpy())
    flat = sets.explode(empty_as_null=False, keep_nulls=False)
    known = flat.is_not_null().to_numpy()
    row, flat = row[known], flat.drop_nulls()
    distinct = flat.unique()
    hashes = [bucket(value, 2 * BAG_WIDTH) for value in distinct]
    place = flat.replace_strict(distinct, hashes, return_dtype=pl.Int64).to_numpy() if len(flat) else np.zeros(0, int)
    sums = np.bincount(row * BAG_WIDTH + place // 2, 1.0 - 2.0 * (place % 2), minlength=len(sets) * BAG_WIDTH)
    return sums.reshape(-1, BAG_WIDTH).astype(np.float32)


def _unit(rows: Floats) -> Floats:
    """Rows at length one; zero stays zero."""
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norm == 0, 1, norm)).astype(np.float32)
