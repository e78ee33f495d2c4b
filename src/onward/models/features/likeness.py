"""How alike an item without events is to those of the history, beside what the model says of it.

    score'(h, i) = score(h, i) + w cos(p_h, c_i)        for items i without a training event

c_i is the item by its features alone (`content.py`), p_h the mean of those of the history, recent ones counting more,
as content-kNN has it. What the model learned of features is what they say of an average item; that the user looked at
nearly the same thing just now is another sign, and adds to it: a weighted hybrid (Burke: "Hybrid Recommender Systems:
Survey and Experiments", UMUAI 2002, section 3.1). Scores of trained items stay what they were.

Its own vector, of which the model's score is, takes over what the ids of trained items that look like it have learned
(`Residuals`).

So that scores stay products of states and item vectors, p_h is appended to the state and c_i to the item's vector, zero
for trained items. Vectors are cut to their principal axes among the trained items and whitened: what all items have in
common counts no more than what sets them apart (Su, Cao, Liu, Ou: "Whitening Sentence Representations for Better
Semantics and Faster Retrieval", 2021, arXiv:2103.15316, without its centring).

Legend: B histories, n items, V of the catalog, d numbers of a content vector, C of them kept, D of an output vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from onward.data.sequences import Histories
from onward.models.base import Bools
from onward.models.features.columns import Column
from onward.models.features.content import Floats, compared, content_vectors
from onward.models.features.residuals import Residuals
from onward.models.matrix import recent

PREFIX = "likeness."
"""Of its tensors' names in a model's state."""
AXES = 256
"""Principal axes that are kept, at most."""
LEAST = 1e-6
"""Share of the widest axis' variance that an axis has, or it is left out."""
MOST_ITEMS = 50_000
"""Trained items that the axes are of, at most, always the same ones."""
CHUNK_ITEMS = 16_384
"""Items whose content vectors are made at once."""


class Likeness:
    """What is appended to states and item vectors, and what item vectors take over from others.

    Args:
        columns: fitted; those of items that can be compared are.
        seen: (V + 1,) bool, items seen in training.
        axes: (d, C) float32 axes that content vectors are cut to, each divided by the trained items' spread along it.
        table: (V + 1, C) float32 content vectors of the catalog, of length one or zero.
        weight: w. recency: events of a history after which one counts half; 0: all count the same.
        residuals: of trained items; None: nothing is taken over.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        seen: Bools,
        axes: Tensor,
        table: Tensor,
        weight: float,
        recency: float,
        residuals: Residuals | None = None,
    ) -> None:
        self._columns = compared(columns)
        self._seen = torch.from_numpy(seen)
        self.axes, self.table, self.weight, self.recency = axes, table, weight, recency
        self.residuals = residuals
        self._made: tuple[Tensor, Tensor, tuple[Tensor, Tensor]] | None = None

    @classmethod
    def fit(cls, columns: Sequence[Column], frame: pl.DataFrame, seen: Bools, recency: float) -> Self | None:
        """Of a catalog, row r of the table being item index r + 1, with weight 0; None if nothing compares."""
        chosen = compared(columns)
        if not chosen:
            return None
        rows = np.flatnonzero(seen[1:])
        if len(rows) > MOST_ITEMS:
            rows = np.random.default_rng(0).choice(rows, MOST_ITEMS, replace=False)
        some = torch.from_numpy(content_vectors(chosen, frame[rows])).double()
        moments = some.T @ some / len(some)
        found, directions = torch.linalg.eigh(moments)
        kept = found.argsort(descending=True)[:AXES]
        kept = kept[found[kept] > LEAST * found.max()]
        if not len(kept):  # nothing is known of any item
            return None
        axes = (directions[:, kept] / found[kept].sqrt()).float()
        parts = [frame[first : first + CHUNK_ITEMS] for first in range(0, frame.height, CHUNK_ITEMS)]
        vectors = torch.cat([cls._cut(content_vectors(chosen, part), axes) for part in parts])
        return cls(columns, seen, axes, F.pad(vectors, (0, 0, 1, 0)), 0.0, recency)

    @staticmethod
    def _cut(vectors: Floats, axes: Tensor) -> Tensor:
        """(n, C) float32 of length one."""
        return F.normalize(torch.from_numpy(vectors) @ axes, dim=1)

    @property
    def width(self) -> int:
        """C."""
        return self.table.shape[1]

    def profiles(self, histories: Histories) -> Tensor:
        """(B, C) float32 p_h."""
        weights = recent(histories, self.recency)
        return F.normalize(torch.from_numpy((weights @ self.table.numpy()).astype(np.float32)), dim=1)

    def of_histories(self, histories: Histories) -> Tensor:
        """(B, C) float32 w p_h."""
        return self.weight * self.profiles(histories)

    def of_catalog(self) -> Tensor:
        """(V + 1, C) float32 c_i, zero for trained items."""
        return self.table.masked_fill(self._seen[:, None], 0.0)

    def of_features(self, frame: pl.DataFrame, items: Tensor) -> Tensor:
        """(n, C) float32 c_i by the features of a table's rows, zero for trained items.

        Args:
            items: (n,) int64 indices of the rows' items; 0 for one that the catalog doesn't have.
        """
        vectors = self._cut(content_vectors(self._columns, frame), self.axes)
        return vectors.masked_fill(self._seen[items][:, None], 0.0)

    def extend_catalog(self, vectors: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
        """(V + 1, D + C) output vectors and (V + 1,) biases of the catalog, of (V + 1, D) and (V + 1,) of the model.

        Made once of the same two tensors: every call to score asks, and of a million items it is more than a gigabyte.
        """
        made = self._made
        if made is None or made[0] is not vectors or made[1] is not biases:
            lent = None if self.residuals is None else self.residuals.lent
            made = self._made = (vectors, biases, _extended(vectors, biases, self.of_catalog(), lent))
        return made[2]

    def extend_features(
        self, vectors: Tensor, biases: Tensor, frame: pl.DataFrame, items: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(n, D + C) output vectors and (n,) biases of items with the features of a table's rows, of the model's.

        Args:
            items: as for `of_features`.
        """
        content = self.of_features(frame, items)
        return _extended(vectors, biases, content, None if self.residuals is None else self.residuals.of(content))

    def state(self) -> dict[str, Tensor]:
        """What `load` needs, by name."""
        numbers = torch.tensor([self.weight, self.recency], dtype=torch.float64)
        own = {f"{PREFIX}axes": self.axes, f"{PREFIX}table": self.table, f"{PREFIX}numbers": numbers}
        return own if self.residuals is None else own | self.residuals.state()

    @classmethod
    def load(cls, columns: Sequence[Column], seen: Bools, state: Mapping[str, Tensor]) -> Self:
        """Take over what `state` gave."""
        axes, table, numbers = (state[f"{PREFIX}{name}"] for name in ("axes", "table", "numbers"))
        weight, recency = numbers.tolist()
        return cls(columns, seen, axes, table, weight, recency, Residuals.load(state, table))


def _extended(vectors: Tensor, biases: Tensor, content: Tensor, lent: Tensor | None) -> tuple[Tensor, Tensor]:
    """Output vectors and biases with what is taken over added and the content vectors appended."""
    device = vectors.device
    if lent is not None:
        vectors, biases = vectors + lent[:, :-1].to(device), biases + lent[:, -1].to(device)
    return torch.cat([vectors, content.to(device)], 1), biases
