"""Item vectors as a function of features, the id being one of them.

An id that training never had, and in training a share of the others (`id_dropout`), counts as row 0 of the id table:
the item is then known by its features alone, and so are items that come later. For one step an item is without its id
everywhere, as input and as what is ranked: nothing that follows its id then helps to tell it (the item dropout of
DropoutNet: Volkovs, Yu, Poutanen, NeurIPS 2017).

Legend: n items, V items of the catalog, T of them seen in training, D width.
"""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from onward.models import noise
from onward.models.base import Bools
from onward.models.features.fusion import Inputs
from onward.models.features.layer import FeatureLayer

NEVER = -1e4
"""Bias of what is not to be ranked: its probability is 0, and so is its gradient."""
CHUNK_ITEMS = 16_384
"""Items whose vectors are made at once for a whole table."""


class Tower:
    """Vectors and biases of items for one model.

    Args:
        layer: with columns of items.
        table: (V + 1, D) id vectors. bias: (V + 1,). Row 0 of both stands for an id that isn't known.
        seen: (V + 1,) bool, items seen in training.
        sparse: whether gradients hold the rows of a batch's items only.
    """

    def __init__(self, layer: FeatureLayer, table: Tensor, bias: Tensor, seen: Bools, sparse: bool) -> None:
        assert layer.items is not None
        self._layer, self._block, self._table, self._bias, self._sparse = layer, layer.items, table, bias, sparse
        self._seen = torch.from_numpy(seen)

    def __len__(self) -> int:
        """V + 1."""
        return len(self._seen)

    def rows(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) vectors and (n,) biases of some items, (n,) int64; each different one is made once."""
        distinct, places = torch.unique(items, return_inverse=True)
        vectors, biases = self._make(distinct)
        return F.embedding(places, vectors), torch.gather(biases, 0, places)

    def catalog(self) -> tuple[Tensor, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases of all items, to rank in training.

        An item that training never has is no target there, and would only be pushed down for what it looks like: its
        bias is so low that it counts for nothing.
        """
        vectors, biases = self._make(torch.arange(len(self._seen), device=self._table.device))
        return vectors, biases.masked_fill(~self._seen.to(biases.device), NEVER)

    def whole(self) -> tuple[Tensor, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases of the catalog, to keep."""
        # tensors made under inference mode could be no part of anything else
        with torch.inference_mode(False), torch.no_grad():
            every = torch.arange(len(self._seen), device=self._table.device)
            parts = [self._make(items) for items in torch.split(every, CHUNK_ITEMS)]
        return torch.cat([vectors for vectors, _ in parts]), torch.cat([biases for _, biases in parts])

    def of_features(self, frame: pl.DataFrame, items: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) vectors and (n,) biases by the features of a table's rows, whatever the catalog says of the items.

        Args:
            items: (n,) int64 indices of the rows' items; 0 for one that the catalog doesn't have.
        """
        inputs = Inputs(*(part.to(self._table.device) for part in self._layer.read_items(frame)))
        ids = (items * self._seen[items]).to(self._table.device)
        with torch.no_grad():
            return self._block(self._table[ids], inputs), self._bias[ids]

    def _make(self, items: Tensor) -> tuple[Tensor, Tensor]:
        ids = items * self._seen.to(items.device)[items]
        if self._layer.training and self._layer.id_dropout > 0:
            ids = ids * noise.kept(items, self._layer.id_dropout)
        base = F.embedding(ids, self._table, sparse=self._sparse)
        vectors = self._block(base, self._layer.inputs_on(items.device).rows(items))
        return vectors, torch.gather(self._bias, 0, ids, sparse_grad=self._sparse)
