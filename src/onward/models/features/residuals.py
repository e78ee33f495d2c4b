"""What an item without events takes over from trained items that look like it.

A trained item is what features say of it and what its id learned beyond that, its residual. Items of the same looks
tend to have like residuals, so one without events takes over their mean, the alike counting more:

    r_i = sum_j r_j exp(c_i c_j / T) / sum_j exp(c_i c_j / T)        over the K trained items j most like i

with c the items by their features alone (`Likeness`). This is the nearest neighbours' mapping from attributes to
factors of Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme ("Learning Attribute-to-Feature Mappings for
Cold-Start Recommendations", ICDM 2010), of what features leave over.

Legend: V items of the catalog, n of them with residuals, m items, C numbers of a content vector, D of an output vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from onward.models.base import Bools
from onward.models.features.featured import Featured
from onward.progress import OnStep, silent

PREFIX = "likeness.residuals."
"""Of its tensors' names in a model's state."""
NEIGHBOURS = 20
"""K."""
TEMPERATURE = 0.05
"""T, of cosines."""
MOST_ITEMS = 50_000
"""Trained items that lend their residuals, at most, always the same ones."""
CHUNK_ITEMS = 2_048
"""Trained items whose vectors are made by their features at once."""
CHUNK_COSINES = 8_388_608
"""Cosines that are held at once, 32 MiB of them."""


class Residuals:
    """Residuals of trained items.

    Args:
        items: (n,) int64 indices of them. table: (V + 1, C) float32 content vectors of the catalog.
        values: (n, D + 1) float32 residuals of output vectors and, last, of biases.
        lent: (V + 1, D + 1) float32 what the catalog's items take over, zero for trained ones.
    """

    def __init__(self, items: Tensor, table: Tensor, values: Tensor, lent: Tensor) -> None:
        self._items, self._vectors, self._values, self.lent = items, table[items], values, lent

    @classmethod
    def fit(
        cls,
        featured: Featured,
        frame: pl.DataFrame,
        table: Tensor,
        seen: Bools,
        on_items: OnStep = silent,
    ) -> Self:
        """Of a trained model whose item vectors are made of features.

        Args:
            frame: features of the catalog, row r being item index r + 1.
            table: (V + 1, C) float32 its content vectors, of length one or zero.
            seen: (V + 1,) bool, items seen in training.
            on_items: progress of the items without events. Each is compared with all lenders: of a million and 50,000
                of these that is minutes of work.
        """
        items = np.flatnonzero(seen & table.any(1).numpy())
        if len(items) > MOST_ITEMS:
            items = np.sort(np.random.default_rng(0).choice(items, MOST_ITEMS, replace=False))
        whole = torch.column_stack(featured.output_table()).detach().cpu()
        chunks = [items[first : first + CHUNK_ITEMS] for first in range(0, len(items), CHUNK_ITEMS)]
        made = [torch.column_stack(featured.items_of(frame[some - 1])).cpu() for some in chunks]
        lenders = torch.from_numpy(items)
        found = cls(lenders, table, whole[lenders] - torch.cat([whole[:0], *made]), torch.zeros_like(whole))
        unseen = torch.from_numpy(np.flatnonzero(~seen))
        found.lent[unseen] = found.of(table[unseen], on_items)
        return found

    def of(self, vectors: Tensor, on_items: OnStep = silent) -> Tensor:
        """(m, D + 1) float32 what items with these content vectors, (m, C), take over; zero for a vector of zeros."""
        taken = vectors.new_zeros(len(vectors), self._values.shape[1])
        lenders = len(self._vectors)
        known = vectors.any(1).nonzero()[:, 0] if lenders else torch.arange(0)
        done = 0
        for some in torch.split(known, max(1, CHUNK_COSINES // max(1, lenders))):
            near = torch.topk(vectors[some] @ self._vectors.T, min(NEIGHBOURS, lenders), dim=1)
            weights = torch.softmax(near.values / TEMPERATURE, dim=1)
            taken[some] = torch.einsum("mk,mkd->md", weights, self._values[near.indices])
            done += len(some)
            on_items(done, len(known))
        return taken

    def state(self) -> dict[str, Tensor]:
        """What `load` needs, by name."""
        return {f"{PREFIX}items": self._items, f"{PREFIX}values": self._values, f"{PREFIX}lent": self.lent}

    @classmethod
    def load(cls, state: Mapping[str, Tensor], table: Tensor) -> Self | None:
        """Take over what `state` gave; None of a model that was trained before there were residuals."""
        if f"{PREFIX}items" not in state:
            return None
        items, values, lent = (state[f"{PREFIX}{name}"] for name in ("items", "values", "lent"))
        return cls(items, table, values, lent)
