"""EASE: a linear item-item model with a closed form (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data",
WWW 2019, https://arxiv.org/abs/1905.03375).

    P = (X^T X + lambda I)^-1,   B = I - P / diag(P)   (columns divided),   score = x B

X is (users, items), 1 where the user had the item. Time grows with the cube of the catalog and memory with its
square, hence `max_items`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.linalg import lapack
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.matrix import had
from onward.space import Range


class EASEConfig(ModelConfig):
    """Settings of EASE."""

    regularization: Annotated[float, Range(10.0, 3000.0, log=True)] = Field(300.0, gt=0)
    """lambda: added to the diagonal; larger for sparser data."""


class EASE(Recommender):
    """Scores an item by the weights from the items of the history to it."""

    name = "ease"
    Config = EASEConfig
    traits = Traits(max_items=25_000)  # 5 GB while fitting, 2.5 GB kept
    config: EASEConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Solve the closed form in double precision."""
        matrix = had(training).astype(np.float64)
        gram = (matrix.T @ matrix).toarray(order="F")
        gram[np.diag_indices_from(gram)] += self.config.regularization
        # Cholesky in place: one matrix of doubles, not three
        factor, _ = lapack.dpotrf(gram, lower=True, overwrite_a=True)
        half, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
        diagonal = np.diag(half).copy()
        weights = np.tril(half).astype(np.float32)
        weights += np.tril(weights, -1).T
        weights /= -diagonal.astype(np.float32)
        np.fill_diagonal(weights, 0)
        self.weights = torch.from_numpy(np.ascontiguousarray(weights))

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        return torch.from_numpy(had(histories) @ self.weights.numpy())

    def state(self) -> dict[str, Tensor]:
        """`weights`: (V + 1, V + 1) float32, from item to item."""
        return {"weights": self.weights}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.weights = state["weights"]
