"""ALS: matrix factorisation of implicit feedback (Hu, Koren, Volinsky: "Collaborative Filtering for Implicit
Feedback Datasets", ICDM 2008, https://doi.org/10.1109/ICDM.2008.22).

The package `implicit` learns the item factors Y. A history is folded in by the same least squares that made the
training users' factors, so every history is answered alike, seen in training or not, and no user row is kept:

    x = (Y^T Y + sum_i (c_i - 1) y_i y_i^T + lambda I)^-1  sum_i c_i y_i,    c_i = 1 + alpha * events of item i

F factors, V items, B requests.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from onward.data.sequences import Histories
from onward.errors import MissingExtraError
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.matrix import Floats, Matrix, counts
from onward.space import Choice, Range


class ALSConfig(ModelConfig):
    """Settings of ALS."""

    factors: Annotated[int, Choice((64, 128, 256, 32))] = Field(64, ge=1)
    """F: numbers an item."""
    regularization: Annotated[float, Range(0.1, 100.0, log=True)] = Field(10.0, gt=0)
    """lambda: pulls the factors towards zero."""
    alpha: Annotated[float, Range(0.1, 40.0, log=True)] = Field(1.0, gt=0)
    """Confidence that one event adds."""
    iterations: int = Field(15, ge=1)
    """Alternations between users and items."""


class ALS(Recommender):
    """Scores an item by the product of its factors with those of the history."""

    name = "als"
    Config = ALSConfig
    traits = Traits()
    config: ALSConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Learn the item factors. Raises MissingExtraError without the package `implicit`."""
        try:
            from implicit.cpu.als import AlternatingLeastSquares
            from threadpoolctl import threadpool_limits
        except ImportError:
            raise MissingExtraError("implicit", "mf") from None
        with threadpool_limits(1, "blas"), warnings.catch_warnings():  # implicit runs its own threads
            warnings.simplefilter("ignore")
            learner = AlternatingLeastSquares(
                factors=self.config.factors,
                regularization=self.config.regularization,
                alpha=1.0,  # the confidences are given whole
                iterations=self.config.iterations,
                random_state=seed,
            )
            learner.fit(self._confidence(training), show_progress=False)
        factors = torch.from_numpy(np.array(learner.item_factors))
        factors[torch.from_numpy(self.items.train_counts == 0)] = 0  # the exact solution; the learner only nears it
        self._set(factors)

    def _confidence(self, histories: Histories) -> Matrix:
        matrix = counts(histories)
        matrix.data = 1 + np.float32(self.config.alpha) * matrix.data
        return matrix

    def _set(self, factors: Tensor) -> None:
        self.factors = factors  # (V + 1, F)
        wide = factors.numpy().astype(np.float64)
        self._base = wide.T @ wide + self.config.regularization * np.eye(wide.shape[1])

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        return torch.from_numpy(self.fold_in(histories)) @ self.factors.T

    def fold_in(self, histories: Histories) -> Floats:
        """(B, F) float32 factors of each history."""
        confidence = self._confidence(histories)
        size = self.factors.shape[1]
        left, right = np.empty((len(histories), size, size)), np.empty((len(histories), size, 1))
        wide = self.factors.numpy().astype(np.float64)
        for row, (first, last) in enumerate(zip(confidence.indptr[:-1], confidence.indptr[1:], strict=True)):
            mine, c = wide[confidence.indices[first:last]], confidence.data[first:last, None].astype(np.float64)
            left[row] = self._base + mine.T @ ((c - 1) * mine)
            right[row] = mine.T @ c
        return np.linalg.solve(left, right)[:, :, 0].astype(np.float32)

    def state(self) -> dict[str, Tensor]:
        """`factors`: (V + 1, F) float32 of the items."""
        return {"factors": self.factors}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._set(state["factors"])
