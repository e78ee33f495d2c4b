"""Nearest neighbours, the traditional collaborative filtering: between items, and between users.

Similarities, of rows x and y that say who had what:

- `cosine`: common / sqrt(size of x * size of y).
- `bm25` (Robertson, Zaragoza: "The Probabilistic Relevance Framework: BM25 and Beyond", 2009,
  https://doi.org/10.1561/1500000019): y is the document and x the query; a common column counts more when it is
  rare, and less when y is long.

Both are shrunk towards zero where they rest on few common columns, common / (common + shrinkage), after Bell and
Koren ("Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights", ICDM 2007,
https://doi.org/10.1109/ICDM.2007.90). U users, V items, B requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.base import Items, ModelConfig, Recommender, Traits
from onward.models.matrix import Matrix, dense, from_state, had, prune, recent, scale_rows, to_state
from onward.space import Choice, Range

Similarity = Literal["cosine", "bm25"]
BLOCK_ENTRIES = 16_000_000
"""Similarities held at once, at most (128 MB and their indices)."""
POPULARITY = 1e-6
"""Weight of popularity (1 for the most popular item): it orders the items that no neighbour reaches."""
BM25_LENGTH, BM25_FREQUENCY = 0.75, 1.2
"""b and k1 of BM25; the frequency of a column in a row is 1 here."""


class ItemKNNConfig(ModelConfig):
    """Settings of item-knn."""

    similarity: Annotated[Similarity, Choice(("bm25", "cosine"))] = "bm25"
    """How two items are compared, by the users who had them."""
    neighbours: Annotated[int, Range(20, 1000, log=True)] = Field(400, ge=1)
    """Most similar items kept for each item."""
    shrinkage: Annotated[float, Range(0.0, 100.0)] = Field(10.0, ge=0)
    """Common users at which a similarity is halved."""
    recency: Annotated[float, Choice((2.0, 0.0, 0.5, 1.0, 4.0, 8.0, 16.0))] = Field(2.0, ge=0)
    """Events (or baskets) after which an item of the history counts half; 0: all count the same."""


class ItemKNN(Recommender):
    """Scores an item by its similarity to the items of the history, recent ones counting more.

    Deshpande, Karypis: "Item-Based Top-N Recommendation Algorithms", TOIS 2004,
    https://doi.org/10.1145/963770.963776. Theirs has no recency; `recency = 0` is theirs.
    """

    name = "item-knn"
    Config = ItemKNNConfig
    traits = Traits(ordered=True)
    config: ItemKNNConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Keep the nearest items of each item."""
        users = sparse.csr_array(had(training).T)  # (V + 1, U)
        documents = _Documents(users, self.config.similarity, self.config.shrinkage)
        found = []
        for first, rows in documents.compare(users):
            rows.setdiag(0, first)
            rows.eliminate_zeros()
            found.append(prune(rows, self.config.neighbours, self.items.tie_rank))
        self.similar = sparse.csr_array(sparse.vstack(found))

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        return dense(recent(histories, self.config.recency) @ self.similar) + _popularity(self.items)

    def state(self) -> dict[str, Tensor]:
        """The (V + 1, V + 1) sparse similarities, a row an item of the history."""
        return to_state(self.similar)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.similar = from_state(state, self.items.n + 1)


class UserKNNConfig(ModelConfig):
    """Settings of user-knn."""

    similarity: Annotated[Similarity, Choice(("bm25", "cosine"))] = "bm25"
    """How two users are compared, by the items they had."""
    neighbours: Annotated[int, Range(20, 1000, log=True)] = Field(100, ge=1)
    """Most similar training users who are asked."""
    shrinkage: Annotated[float, Range(0.0, 100.0)] = Field(10.0, ge=0)
    """Common items at which a similarity is halved."""


class UserKNN(Recommender):
    """Scores an item by the similarity of the nearest training users who had it.

    Herlocker, Konstan, Borchers, Riedl: "An Algorithmic Framework for Performing Collaborative Filtering", SIGIR
    1999, https://doi.org/10.1145/312624.312682.

    Whoever asks is known by the history alone: a training user is among their own neighbours, which lifts the
    items of their own history and no others.
    """

    name = "user-knn"
    Config = UserKNNConfig
    traits = Traits(holds_user_rows=True)
    config: UserKNNConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Keep who had what."""
        self._set(had(training))

    def _set(self, users: Matrix) -> None:
        self.users = users  # (U, V + 1)
        self._documents = _Documents(users, self.config.similarity, self.config.shrinkage)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        order = np.arange(self.users.shape[0])
        near = [prune(rows, self.config.neighbours, order) for _, rows in self._documents.compare(had(histories))]
        return torch.cat([dense(rows @ self.users) for rows in near]) + _popularity(self.items)

    def state(self) -> dict[str, Tensor]:
        """The (U, V + 1) sparse rows of the training users."""
        return to_state(self.users)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._set(from_state(state, self.items.n + 1))


def _popularity(items: Items) -> Tensor:
    """(V + 1,) float32, from 0 to POPULARITY."""
    counts = items.train_counts
    return torch.from_numpy((POPULARITY * counts / max(1, counts.max())).astype(np.float32))


class _Documents:
    """Rows prepared to be compared with queries over the same columns."""

    def __init__(self, rows: Matrix, similarity: Similarity, shrinkage: float) -> None:
        self.shrinkage = np.float32(shrinkage)
        self.plain = sparse.csr_array(rows.T)  # (columns, documents)
        self.sizes = np.diff(rows.indptr)
        self.weighted = None if similarity == "cosine" else self._bm25(rows)

    def _bm25(self, rows: Matrix) -> Matrix:
        relative = self.sizes / max(1.0, self.sizes.sum() / max(1, np.count_nonzero(self.sizes)))
        length = (1 + BM25_FREQUENCY) / (1 + BM25_FREQUENCY * (1 - BM25_LENGTH + BM25_LENGTH * relative))
        used = np.diff(self.plain.indptr)
        rarity = np.log1p((rows.shape[0] - used + 0.5) / (used + 0.5))
        return scale_rows(sparse.csr_array(scale_rows(rows, length).T), rarity)

    def compare(self, queries: Matrix) -> Iterator[tuple[int, Matrix]]:
        """(first row, (rows, documents) similarities) of successive blocks of the queries."""
        for first, last in self._blocks(queries):
            block = queries[first:last]
            found = sparse.csr_array(block @ self.plain)  # common columns
            common = found.data.copy()
            if self.weighted is None:
                sizes = np.diff(block.indptr).astype(np.float32)
                found.data /= np.sqrt(np.repeat(sizes, np.diff(found.indptr)) * self.sizes[found.indices])
            else:
                found.data = sparse.csr_array(block @ self.weighted).data  # the same entries in the same order
            found.data *= common / (common + self.shrinkage)
            yield first, found

    def _blocks(self, queries: Matrix) -> list[tuple[int, int]]:
        """Rows whose similarities fit in memory together, one row at least."""
        work = np.minimum(queries @ np.diff(self.plain.indptr), self.plain.shape[1])
        block = (np.cumsum(work) - work) // BLOCK_ENTRIES
        edges = np.flatnonzero(np.diff(block)) + 1
        return list(pairwise([0, *edges.tolist(), queries.shape[0]]))
