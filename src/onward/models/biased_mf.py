"""Biased matrix factorisation of values (Koren, Bell, Volinsky: "Matrix Factorization Techniques for Recommender
Systems", IEEE Computer 42(8), 2009, https://doi.org/10.1109/MC.2009.263), learned by alternating least squares:

    interest = m + b_u + b_i + p_u . q_i

    minimise  sum over events (value - interest)^2
            + sum over users  n_u^w (l_b b_u^2 + l |p_u|^2)  +  sum over items  n_i^w (l_b b_i^2 + l |q_i|^2)

n counts the events of a user or an item. w = 1 is the weighting of Zhou et al. ("Large-scale Parallel Collaborative
Filtering for the Netflix Prize", AAIM 2008), w = 0 the plain ridge; a half lies between and does best on ratings here.

Only the items' side is kept. A history is folded in by the least squares that make a training user's b_u and p_u, so
every history is answered alike, seen in training or not, and newer events count without training again.

Legend: E events, F factors, V items, B requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from onward.data.sequences import Histories, Ints
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.values import Floats, Valued, learned_range, valued_events
from onward.space import Choice, Range


class BiasedMFConfig(ModelConfig):
    """Settings of biased matrix factorisation; penalties are for interest in [0, 1]."""

    factors: Annotated[int, Choice((20, 40, 10, 5))] = Field(20, ge=1)
    """F: numbers a user and an item, beside their biases."""
    regularization: Annotated[float, Range(0.03, 3.0, log=True)] = Field(0.3, gt=0)
    """l: pulls factors towards zero."""
    bias_regularization: Annotated[float, Range(0.03, 3.0, log=True)] = Field(0.3, gt=0)
    """l_b: pulls biases towards zero."""
    frequency_power: float = Field(0.5, ge=0, le=1)
    """w: penalties grow with the number of events to this power."""
    iterations: int = Field(15, ge=1)
    """Alternations between users and items."""


class BiasedMF(Recommender):
    """Interest from biases and factors of history and item."""

    name = "biased-mf"
    Config = BiasedMFConfig
    traits = Traits(valued=True)
    config: BiasedMFConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Learn biases and factors of the items. Raises ConfigError for training events without values."""
        value_range = learned_range(training, f"model '{self.name}'")
        events = valued_events(training, value_range)
        self.bounds = torch.tensor(value_range, dtype=torch.float64)
        self.mean = torch.tensor(float(events.interest.mean()), dtype=torch.float64)
        size = (self.items.n + 1, self.config.factors + 1)
        known = self.items.train_counts > 0
        # (V + 1, 1 + F), bias first; drawn in the order of ties, so that renumbering the catalog changes nothing
        self._items = np.random.default_rng(seed).normal(0, 0.1, size)[self.items.tie_rank] * known[:, None]
        self._items[:, 0] = 0
        by_item = np.argsort(events.item, kind="stable")
        turned = Valued(events.item[by_item], events.row[by_item], events.interest[by_item])
        for _ in range(self.config.iterations):
            users = self._solve(events, self._items, len(training))
            self._items = self._solve(turned, users, size[0])

    def _solve(self, events: Valued, others: Floats, n: int) -> Floats:
        """(n, 1 + F) best bias and factors of each row, given those of the other side; events ascend by row."""
        config = self.config
        bounds = np.searchsorted(events.row, np.arange(n + 1))
        design = others[events.item].copy()
        wanted = events.interest - float(self.mean) - design[:, 0]
        design[:, 0] = 1.0
        penalty = np.full(config.factors + 1, config.regularization)
        penalty[0] = config.bias_regularization
        found = np.zeros((n, config.factors + 1))
        for row in np.flatnonzero(np.diff(bounds)).tolist():
            mine = design[bounds[row] : bounds[row + 1]]
            weight = len(mine) ** config.frequency_power
            left = mine.T @ mine + np.diag(weight * penalty)
            found[row] = np.linalg.solve(left, mine.T @ wanted[bounds[row] : bounds[row + 1]])
        return found

    def fold_in(self, histories: Histories) -> Floats:
        """(B, 1 + F) bias and factors of each history; zeros for one without values."""
        return self._solve(valued_events(histories, self.value_range), self._items, len(histories))

    @property
    def value_range(self) -> tuple[float, float]:
        """The values that interest 0 and 1 stand for."""
        low, high = self.bounds.tolist()
        return low, high

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32: the interest in every item, not clipped, so that those beyond 1 keep an order."""
        users = self.fold_in(histories)
        scores = float(self.mean) + users[:, :1] + self._items[:, 0] + users[:, 1:] @ self._items[:, 1:].T
        return torch.from_numpy(scores).float()

    def interest(self, histories: Histories, items: Ints) -> Tensor:
        """(B,) float32 in [0, 1]."""
        # a run of one history, as evaluation and whole tables of pairs have it, is folded in once
        windows = np.stack([histories.start, histories.end], axis=1)
        _, first, row = np.unique(windows, axis=0, return_index=True, return_inverse=True)
        users, chosen = self.fold_in(histories.select(first))[row], self._items[items]
        found = float(self.mean) + users[:, 0] + chosen[:, 0] + (users[:, 1:] * chosen[:, 1:]).sum(axis=1)
        return torch.from_numpy(np.clip(found, 0.0, 1.0)).float()

    def state(self) -> dict[str, Tensor]:
        """`bounds` (2,), `mean` (), `items` (V + 1, 1 + F), bias first; all float64."""
        return {"bounds": self.bounds, "mean": self.mean, "items": torch.from_numpy(self._items)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self.bounds, self.mean, self._items = state["bounds"], state["mean"], state["items"].numpy()
