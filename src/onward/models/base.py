"""The recommender protocol: every model, static or neural, turns histories into scores and lists.

Shapes: B requests, V items, k list length. Scores have V + 1 columns so that column j is item index j;
column 0 is padding and always -inf.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.config import Config, Windows
from onward.data.sequences import Histories, Ints
from onward.errors import ConfigError, TrainingError
from onward.models.top_k import chunks, mask_scores, top_k
from onward.threads import team

Bools = NDArray[np.bool_]
SMALL_SCORES = 1_000_000
"""Fewer scores than this one thread makes sooner than several agree on who makes which."""
MAX_THREADS = 64
"""Threads that share out requests, at most."""


class ModelConfig(Config):
    """Base of every model's settings: what to learn, never how to run."""

    def resolved(self, n_items: int, bfloat16: bool = False) -> Self:
        """The same settings with what depends on the catalog's size, and on the machine, filled in."""
        return self


@dataclass(frozen=True)
class Traits:
    """What a model declares about itself; the contract suite tests it by these.

    Attributes:
        trainable: trained step by step by the training loop; the others are fitted in one call.
        ordered: the order of a history matters.
        causal: the state after an event doesn't depend on later events.
        holds_user_rows: the state holds rows of training users (what forgetting a user must treat).
        max_items: largest catalog the model takes, None without limit.
        timed: the times of events count, and when the answer is wanted, where that is told.
        windows: how the training loop may cut histories for it (`TrainConfig.windows`), the default first. A state
            of a model that isn't causal would see its target in `last` and `all`, were it not hidden.
        cloze: trained to fill in steps that it hides itself, so that it is given whole windows, each step its own
            target.
        unseen: items without a training event are scored by their features.
        valued: learns from the values of events alone, and takes no training events without them.
    """

    trainable: bool = False
    ordered: bool = False
    causal: bool = True
    holds_user_rows: bool = False
    max_items: int | None = None
    timed: bool = False
    windows: tuple[Windows, ...] = ("all", "last", "prefix")
    cloze: bool = False
    unseen: bool = False
    valued: bool = False

    def resolve_windows(self, asked: Windows | None, model: str) -> Windows:
        """What is asked for, or the default. Raises ConfigError naming the model when it can't be trained like that."""
        if asked is not None and asked not in self.windows:
            raise ConfigError(
                f"model '{model}' can't be trained with train.windows = '{asked}': a state of it sees its whole row, "
                "so what it is to predict must not stand there",
                f"leave train.windows out, or choose {' or '.join(map(repr, self.windows))}",
            )
        return asked or self.windows[0]


@dataclass(frozen=True)
class Items:
    """What every model knows of the catalog.

    Attributes:
        train_counts: (V + 1,) int64 training events of each item; candidates are the items above zero.
        tie_rank: (V + 1,) int32 order of items of equal score (`Catalog.tie_rank`).
        table: what is known of the items, row r being item index r + 1, for models that are fitted to it.
        kinds: column of the table -> number, text, category, categories, time or vector.
    """

    train_counts: Ints
    tie_rank: NDArray[np.int32]
    table: pl.DataFrame | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of items, V."""
        return len(self.train_counts) - 1

    @cached_property
    def candidates(self) -> Bools:
        """(V + 1,) bool: items seen in training. Not to be written to."""
        return self.train_counts > 0


@dataclass(frozen=True)
class Lists:
    """Recommendations, best first.

    Attributes:
        items: (B, k) int64 item indices; 0 where fewer than k items could be recommended.
        scores: (B, k) float32; -inf there.
        fallback: (B,) bool; the history had no item seen in training and popularity answered.
    """

    items: Ints
    scores: NDArray[np.float32]
    fallback: Bools


class Recommender(ABC):
    """A model over item indices.

    Subclasses set `name`, `Config` and `traits`, and write `score_histories` and `state`/`load_state`; those
    that aren't `trainable` write `fit` too.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ModelConfig]]
    traits: ClassVar[Traits]

    def __init__(self, config: ModelConfig, items: Items) -> None:
        if self.traits.max_items is not None and items.n > self.traits.max_items:
            raise ConfigError(
                f"model '{self.name}' takes at most {self.traits.max_items} items and the catalog has {items.n}",
                "filter rare items when preparing (--min-item-events), or choose another model: onward models",
            )
        self.config = config
        self.items = items

    def fit(self, training: Histories, seed: int = 0) -> None:
        """Learn from the training histories in one call. Trainable models are trained by `onward.train` instead."""
        raise ConfigError(f"model '{self.name}' is trained by the training loop", "use onward.train")

    @property
    def notes(self) -> list[str]:
        """What `fit` decided, in sentences for people."""
        return []

    @abstractmethod
    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 scores, higher is better, for histories with an item seen in training."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything learned, as named tensors."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""

    @property
    def max_threads(self) -> int:
        """Threads that may ask for scores at once."""
        return MAX_THREADS

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The values of an event that interest 0 and 1 stand for; None for a model that only ranks."""
        return None

    @property
    def interest_of(self) -> Literal["values", "events"] | None:
        """What interest was learned from; None for a model that only ranks."""
        return None if self.value_range is None else "values"

    def interest(self, histories: Histories, items: Ints) -> Tensor:
        """(B,) float32 in [0, 1]: the interest of each history in one item, `items[b]` ((B,) int64 indices)."""
        raise self._only_ranks()

    def interests(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 in [0, 1]: the interest of each history in every item."""
        if self.interest_of is None:
            raise self._only_ranks()
        return self.score_histories(histories).clamp(0, 1)

    def _only_ranks(self) -> ConfigError:
        hint = "train a sequence model with --set model.loss=mse or model.interest=mse, or biased-mf"
        return ConfigError(f"model '{self.name}' only ranks", hint)

    @property
    def scores_unseen(self) -> bool:
        """Whether the scores of items without a training event mean anything: by their features."""
        return self.traits.unseen

    @property
    def parameters_count(self) -> int:
        """Numbers that the model learned."""
        return sum(tensor.numel() for tensor in self.state().values())

    def score(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 scores; a history without an item seen in training gets the popularity of each item.

        That is the log of 1 + its training events. Column 0 is -inf. Raises TrainingError when the model gives NaN.
        """
        scores = self._score(histories, self._known(histories))
        if scores.numel():  # the largest of numbers one of which is NaN is NaN, in an eighth of isnan()'s time
            self._check(nan=bool(scores.amax().isnan()))
        scores[:, 0] = -torch.inf
        return scores

    def _check(self, nan: bool) -> None:
        if nan:
            raise TrainingError(f"model '{self.name}' gave NaN scores", "train it again, with a smaller learning rate")

    def _score(self, histories: Histories, known: Bools) -> Tensor:
        """Scores as the model gives them, told which histories have an item seen in training."""
        if known.all() and len(histories):
            return self.score_histories(histories)
        popularity = torch.from_numpy(np.log1p(self.items.train_counts).astype(np.float32))
        scores = popularity.repeat(len(histories), 1)
        if known.any():
            scores[torch.from_numpy(known)] = self.score_histories(histories.select(known)).cpu()
        return scores

    def recommend(
        self,
        histories: Histories,
        k: int = 10,
        candidates: Bools | None = None,
        seen: Literal["exclude", "include"] = "exclude",
        exclude: Histories | None = None,
    ) -> Lists:
        """The k best items of each history.

        Args:
            candidates: (V + 1,) bool, the items that may be recommended; the items seen in training by default.
            seen: whether items of the whole history given (not only the model's window) may come again.
            exclude: further items to leave out, one window a history.
        """
        allowed = self.items.candidates if candidates is None else candidates
        known = self._known(histories)

        def best(rows: slice) -> tuple[Ints, NDArray[np.float32]]:
            some = histories if len(pieces) == 1 else histories.select(rows)
            scores = mask_scores(self._score(some, known[rows]), some if seen == "exclude" else None, allowed)
            if exclude is not None:
                scores = mask_scores(scores, exclude.select(rows), allowed)
            items, values = top_k(scores, k, self.items.tie_rank)
            self._check(nan=bool(np.isnan(values).any()))
            return items, values

        pieces = chunks(len(histories), self.items.n)
        small = len(histories) * self.items.n < SMALL_SCORES
        with team(min(len(pieces), self.max_threads), small) as threads:
            parts = threads.map(best, pieces)
        if len(parts) == 1:
            return Lists(*parts[0], ~known)
        found = np.concatenate([items for items, _ in parts]) if parts else np.zeros((0, k), np.int64)
        scored = np.concatenate([scores for _, scores in parts]) if parts else np.zeros((0, k), np.float32)
        return Lists(found, scored, ~known)

    def _known(self, histories: Histories) -> Bools:
        """(B,) bool: histories with an item that was seen in training; of the others the model knows nothing.

        For a model that scores unseen items, any item does.
        """
        if self.scores_unseen:
            return histories.lengths > 0
        if len(histories) == 1:  # the request of a live service, which feels every array that is made
            items, seen = histories.item[histories.start[0] : histories.end[0]], self.items.candidates
            return np.array([len(items) > 0 and bool(seen[items[-1]] or seen[items].any())])
        rows, positions = histories.positions()
        known = self.items.train_counts[histories.item[positions]] > 0
        return np.bincount(rows[known], minlength=len(histories)) > 0


def make_items(
    training: Histories,
    tie_rank: NDArray[np.int32],
    table: pl.DataFrame | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Items:
    """Count the training events of every item; the rest as in `Items`."""
    return Items(training.item_counts(), tie_rank, table, kinds or {})


def build(cls: type[Recommender], values: Mapping[str, Any], items: Items) -> Recommender:
    """A model of a class from plain settings."""
    return cls(cls.Config.parse(values, "model"), items)
