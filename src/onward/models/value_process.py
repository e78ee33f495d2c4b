"""What past values say of a history, in closed form: a Gaussian process over the history's events.

The value of item i after t events, on the line from 0 to 1, is

    v(i, t) = m + b_i + u + p . f_i + c . g_i + d(t) + noise

m, b_i and the factors f_i are those of biased matrix factorisation, g_i says which categories an item is of, each set
at length 1. What is of the history, u (its bias), p, c and the drift d, is Gaussian around zero, in units of the noise:

    var u = 1 / bias penalty,   var p = 1 / factor penalty,   var c = weight^2 / factor penalty,
    cov d(s), d(t) = drift * exp(-|s - t| / drift events)

so that the covariance of two events is known, and what is expected after any number of them is a regression (Rasmussen
and Williams: "Gaussian Processes for Machine Learning", 2006, equation 2.25). Without drift and categories that is how
matrix factorisation folds a history in; drift is how the standard of a user moves, the strongest effect of time that
Koren found ("Collaborative Filtering with Temporal Dynamics", KDD 2009, https://doi.org/10.1145/1557019.1557072).

One Cholesky factor answers after every event at once: the first n rows of it are the factor of the first n events.

Legend: B rows, L longest row, N steps, V items, F factors and categories.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.sequences import Histories
from onward.errors import ConfigError, unknown
from onward.models.base import Items
from onward.models.biased_mf import BiasedMF, BiasedMFConfig
from onward.models.objective import ObjectiveConfig
from onward.models.values import Floats

KINDS = ("category", "categories")
MOST_CATEGORIES = 1000
"""Different categories that items may be of: each is one number of every item."""


@dataclass(frozen=True)
class Told:
    """What past values say after some steps.

    Attributes:
        vector: (S, F) what items' vectors are multiplied by. offset: (S,) u + d, whatever the item.
    """

    vector: Tensor
    offset: Tensor

    def at(self, places: Tensor) -> Told:
        """After some of them, (n,) int64."""
        return Told(self.vector[places], self.offset[places])


class ValueProcess(nn.Module):
    """The process of a head's settings. What it knows of items comes from the training events by `start`.

    Attributes:
        mean: () the training events' mean interest. bias: (V + 1,). vectors: (V + 1, F) the factors, then categories.
        trained: (V + 1,) 1 for an item seen in training, else 0: nothing is learned from what it is valued at.
    """

    mean: Tensor
    bias: Tensor
    vectors: Tensor
    trained: Tensor

    def __init__(self, config: ObjectiveConfig, n_items: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(0.5))
        self.register_buffer("bias", torch.zeros(n_items + 1))
        self.register_buffer("vectors", torch.zeros(n_items + 1, config.interest_factors))
        self.register_buffer("trained", torch.zeros(n_items + 1))

    def start(self, training: Histories, items: Items, seed: int) -> None:
        """Learn the items' side. Raises ConfigError for a column of categories that items don't have."""
        config = self.config
        learned = BiasedMF(BiasedMFConfig(factors=config.interest_factors), items)
        learned.fit(training, seed)
        state = learned.state()
        columns = [state["items"][:, 1:].numpy()]
        columns += [config.interest_category_weight * _categories(items, name) for name in config.interest_categories]
        device = self.bias.device
        self.mean = state["mean"].float().to(device)
        self.bias = state["items"][:, 0].float().to(device)
        self.vectors = torch.from_numpy(np.concatenate(columns, axis=1)).float().to(device)
        self.trained = torch.from_numpy(items.candidates).float().to(device)

    def of_items(self) -> Tensor:
        """(V + 1,) the interest in each item before anything is known of a history."""
        return self.mean + self.bias

    @torch.no_grad()
    def told(self, interest: Tensor, batch: Batch) -> Told:
        """After each of the N steps; `interest` is the steps' own, (N,), NaN where there is none."""
        vectors_NF, of_item_N = self._mean_of(self.vectors, batch), self._mean_of(self.of_items()[:, None], batch)
        known_N = self._mean_of(self.trained[:, None], batch).squeeze(1).gt(0) & ~interest.isnan()
        beyond_N = torch.where(known_N, interest - of_item_N.squeeze(1), 0.0)
        told = Told(torch.zeros_like(vectors_NF), torch.zeros_like(beyond_N))
        first = batch.lengths.cumsum(0) - batch.lengths
        for rows in _alike(batch.lengths):
            place = torch.arange(int(batch.lengths[rows].max()), device=first.device)
            real_BL = place < batch.lengths[rows, None]
            steps_BL = torch.where(real_BL, first[rows, None] + place, 0)
            some = self._told_rows(vectors_NF[steps_BL], beyond_N[steps_BL], known_N[steps_BL] & real_BL)
            told.vector[steps_BL[real_BL]], told.offset[steps_BL[real_BL]] = some.vector[real_BL], some.offset[real_BL]
        return told

    def _told_rows(self, vectors_BLF: Tensor, beyond_BL: Tensor, known_BL: Tensor) -> Told:
        """After each step of padded rows, (B, L, F) and (B, L); `beyond_BL` is interest beyond that of the item."""
        config, known_BL1 = self.config, known_BL[:, :, None].float()
        bias, factor = config.interest_bias_penalty**-0.5, config.interest_factor_penalty**-0.5
        design_BLF = torch.cat([known_BL1 * bias, known_BL1 * vectors_BLF * factor], 2)
        place = torch.arange(known_BL.shape[1], device=known_BL.device)
        # how much of a move at the step of a column is left at that of a row
        left = torch.exp(-(place[:, None] - place).abs() / config.interest_drift_events)
        noise = torch.eye(len(place), device=place.device)
        covariance = design_BLF @ design_BLF.mT + config.interest_drift * left * known_BL1 * known_BL1.mT + noise
        lower = torch.linalg.cholesky(covariance)
        wanted = torch.cat([(beyond_BL * known_BL)[:, :, None], design_BLF], 2)
        solved = torch.linalg.solve_triangular(lower, wanted, upper=False)
        surprise_BL1, explained_BLF = solved[:, :, :1], solved[:, :, 1:]
        weights_BLF = (surprise_BL1 * explained_BLF).cumsum(1)
        # the covariance of event j and the drift after step t is exp(-(t + 1 - j) / events): with exp(j / events) taken
        # out of the triangular system, whose entries then can't overflow, all t share one right side
        moved_BL1 = torch.linalg.solve_triangular(lower * left, known_BL1, upper=False)
        drifted_BL1 = (
            left.tril()
            @ (surprise_BL1 * moved_BL1)
            * config.interest_drift
            * math.exp(-1 / config.interest_drift_events)
        )
        return Told(weights_BLF[:, :, 1:] * factor, weights_BLF[:, :, 0] * bias + drifted_BL1.squeeze(2))

    def _mean_of(self, table: Tensor, batch: Batch) -> Tensor:
        """(N, ...) rows of a (V + 1, ...) table, each step's the mean of its members'."""
        if batch.bags is None:
            return F.embedding(batch.items, table)
        return F.embedding_bag(batch.items, table, batch.bags, mode="mean")

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        found = state.get(prefix + "vectors")
        if found is not None:  # how many categories there are is known from the training alone
            self.vectors = self.vectors.new_zeros(found.shape)
        super()._load_from_state_dict(state, prefix, *args)


def _alike(lengths: Tensor) -> Iterator[Tensor]:
    """(n,) int64 rows whose lengths are within a factor of two: the work grows with the longest of them cubed."""
    size = torch.log2(lengths.float()).floor().long()
    for number in torch.bincount(size).nonzero().squeeze(1):
        yield (size == number).nonzero().squeeze(1)


def _categories(items: Items, name: str) -> Floats:
    """(V + 1, C) which of a column's C categories each item is of, each row at length 1, or zero."""
    usable = [column for column, kind in items.kinds.items() if kind in KINDS]
    if items.table is None or name not in usable:
        said = unknown("column of categories", name, usable) if usable else f"items have no categories, as '{name}' is"
        raise ConfigError(f"{said} (at model.interest_categories)", "onward data describe shows all columns")
    column = items.table[name]
    sets = column if items.kinds[name] == "categories" else column.reshape((-1, 1)).arr.to_list()
    row = np.repeat(np.arange(1, len(sets) + 1), sets.list.len().fill_null(0).to_numpy())
    flat = sets.explode(empty_as_null=False, keep_nulls=False)
    row, flat = row[flat.is_not_null().to_numpy()], flat.drop_nulls()
    values, code = np.unique(flat.cast(str).to_numpy(), return_inverse=True)
    if len(values) > MOST_CATEGORIES:
        raise ConfigError(
            f"column '{name}' has {len(values):,} categories (at model.interest_categories)",
            f"name a column with at most {MOST_CATEGORIES:,}",
        )
    found: Floats = np.zeros((items.n + 1, len(values)))
    found[row, code] = 1.0
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found
