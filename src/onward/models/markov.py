"""Markov: what followed the last item in training, backed off to popularity.

A first-order chain. The probability of item j after item i is interpolated with popularity as a Dirichlet prior
(Zhai, Lafferty: "A Study of Smoothing Methods for Language Models Applied to Information Retrieval", TOIS 2004,
https://doi.org/10.1145/984321.984322):

    p(j | i) = (n(i, j) + m p(j)) / (n(i) + m)

with n(i, j) the transitions from i to j, n(i) their sum and m a number of pseudo-transitions: an item seen often
trusts its own followers, a rare one popularity. With groups (baskets) every member of a group is followed by
every member of the user's next group, and the answer is the mean over the members of the last group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.base import ModelConfig, Recommender, Traits
from onward.models.matrix import Matrix, dense, from_state, group_numbers, scale_rows, to_state, weighted
from onward.space import Range


class MarkovConfig(ModelConfig):
    """Settings of markov."""

    backoff: Annotated[float, Range(0.3, 100.0, log=True)] = Field(10.0, gt=0)
    """m: how many transitions popularity weighs as much as."""


class Markov(Recommender):
    """Scores an item by its probability after the last item (or group) of the history."""

    name = "markov"
    Config = MarkovConfig
    traits = Traits(ordered=True)
    config: MarkovConfig

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Count the transitions between successive groups of each user."""
        rows, positions = training.positions()
        group, owner = group_numbers(training, rows, positions)
        shape = (len(owner), self.items.n + 1)
        ones = np.ones(len(positions), dtype=np.float32)
        members = sparse.csr_array((ones, (group, training.item[positions])), shape=shape)
        followed = np.flatnonzero(owner[:-1] == owner[1:])
        self._set(sparse.csr_array(members[followed].T) @ members[followed + 1])

    def _set(self, transitions: Matrix) -> None:
        transitions.sort_indices()
        self.transitions = transitions
        total = transitions.sum(axis=1) + self.config.backoff  # (V + 1,)
        self._follow = scale_rows(transitions, 1 / total)
        self._backoff = (self.config.backoff / total).astype(np.float32)
        self._popular = (self.items.train_counts / max(1, self.items.train_counts.sum())).astype(np.float32)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 probabilities."""
        rows, positions = histories.positions()
        group, owner = group_numbers(histories, rows, positions)
        last = np.append(owner[1:] != owner[:-1], True)[group]  # (n_events,) in the last group of its history
        rows, positions = rows[last], positions[last]
        share = (1 / np.bincount(rows, minlength=len(histories)))[rows].astype(np.float32)
        latest = weighted(histories, rows, positions, share)
        prior = torch.from_numpy((latest @ self._backoff)[:, None] * self._popular)
        return dense(latest @ self._follow) + prior

    def state(self) -> dict[str, Tensor]:
        """The (V + 1, V + 1) sparse transition counts."""
        return to_state(self.transitions)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._set(from_state(state, self.items.n + 1))
