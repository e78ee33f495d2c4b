"""What features change in a sequence model: its input vectors, its output table, the states it answers from.

Legend: B rows or requests, N steps, M members, S steps asked, V items, D width.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.dataset import MISSING_TIME
from onward.data.friends import FriendEvents
from onward.data.sequences import Histories
from onward.models.base import Bools
from onward.models.features.layer import FeatureLayer
from onward.models.features.tower import Tower
from onward.models.tables import ItemVectors

INPUT, OUTPUT, BIAS = "features.input_table", "features.output_table", "features.bias_table"
TABLES = (INPUT, OUTPUT, BIAS)
"""Names of the finished tables in a model's state: what a loaded model answers by, without any item's features."""


class Featured:
    """The feature layer at work in one model.

    Args:
        ids: input vectors. output: another table that items are scored by, or None. bias: (V + 1,).
        seen: (V + 1,) bool, items seen in training.
    """

    def __init__(
        self, layer: FeatureLayer, ids: ItemVectors, output: ItemVectors | None, bias: nn.Parameter, seen: Bools
    ) -> None:
        self.layer, self._ids, self._bias = layer, ids, bias
        self._seen = torch.from_numpy(seen)
        self._inner: Tower | None = None
        self._outer: Tower | None = None
        if layer.items is not None:
            self._inner = Tower(layer, ids.weight, bias, seen, ids.sparse)
            self._outer = self._inner if output is None else Tower(layer, output.weight, bias, seen, output.sparse)
        self._output = ids if output is None else output
        self._kept: dict[str, Tensor] | None = None

    @property
    def makes_items(self) -> bool:
        """Whether item vectors are made of features."""
        return self._inner is not None

    @property
    def asks(self) -> bool:
        """Whether states are asked with what is known of the user, friends included, or of the event to come."""
        return self.layer.asks

    # items

    def tables(self) -> dict[str, Tensor]:
        """The finished tables, (V + 1, D), and biases, (V + 1,), by their names in a state; an output table where it
        isn't the input's."""
        if self._kept is None and self._inner is not None and self._outer is not None:
            inner, bias = self._inner.whole()
            self._kept = {INPUT: inner, BIAS: bias}
            if self._outer is not self._inner:
                self._kept[OUTPUT] = self._outer.whole()[0]
        return self._kept or {}

    def input_table(self) -> Tensor:
        """(V + 1, D) vectors of items as the encoder reads them to answer."""
        return self.tables().get(INPUT, self._ids.weight)

    def output_table(self) -> tuple[Tensor, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases that states are scored against to answer."""
        tables = self.tables()
        return tables.get(OUTPUT, tables.get(INPUT, self._output.weight)), tables.get(BIAS, self._bias)

    def keep(self, tables: dict[str, Tensor] | None) -> None:
        """Take over finished tables, or forget those there are, since the weights have changed."""
        device = self._bias.device
        self._kept = None if tables is None else {name: tensor.to(device) for name, tensor in tables.items()}

    def raise_unseen(self, shift: float) -> None:
        """Raise the scores of all items that are known by features alone: of the catalog's, and of those that come
        later. It is added to the bias that they share."""
        with torch.no_grad():
            self._bias[0] += shift
        if self._kept is not None:
            bias = self._kept[BIAS]
            self._kept[BIAS] = torch.where(self._seen.to(bias.device), bias, bias + shift)

    def outputs(self) -> tuple[Tensor | Tower, Tensor]:
        """What items are ranked by in training: vectors and biases, or the tower where a batch needs few of them."""
        if self._outer is None:
            return self._output.weight, self._bias
        return (self._outer, self._bias) if self._output.sparse else self._outer.catalog()

    def items_of(self, frame: pl.DataFrame, items: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(n, D) output vectors and (n,) biases of items with the features of a table's rows.

        Args:
            items: (n,) int64 indices in the catalog, 0 for an item that it doesn't have; by default it has none.
        """
        assert self._outer is not None
        return self._outer.of_features(frame, torch.zeros(frame.height).long() if items is None else items)

    def inputs(self, batch: Batch) -> Tensor:
        """(N, D) input of each step: the mean of its members, each an item and what is known of the event."""
        vectors_MD = self.layer.add_events(self._item_vectors(batch.items), batch)
        if batch.bags is None:
            return vectors_MD
        members = torch.arange(len(vectors_MD), device=vectors_MD.device)
        return F.embedding_bag(members, vectors_MD, batch.bags, mode="mean")

    def _item_vectors(self, items: Tensor) -> Tensor:
        """(M, D) input vectors of (M,) items."""
        if self._inner is None:
            return F.embedding(items, self._ids.weight, sparse=self._ids.sparse)
        if torch.is_grad_enabled() and self.layer.item_inputs is not None:
            return self._inner.rows(items)[0]
        return F.embedding(items, self.input_table())

    # who asks, and when

    def ask_steps(self, states: Tensor, batch: Batch, asked: Tensor | None) -> Tensor:
        """(S, D) states to predict the targets of a batch from.

        Args:
            states: (n, D) after those of the steps asked that aren't the start of a history.
            asked: (S,) int64 as `Batch.asked` says; None for every step.
        """
        if not self.asks:
            return states
        row_N = batch.row_of_step
        times = torch.full_like(row_N, MISSING_TIME) if batch.times is None else batch.times
        if batch.opens is not None:
            row_N = torch.cat([row_N, batch.opens])
            times = torch.cat([times, torch.full_like(batch.opens, MISSING_TIME)])
        asked = torch.arange(len(row_N), device=states.device) if asked is None else asked
        if len(asked) > len(states):
            states = torch.cat([states, self.layer.start_states(len(asked) - len(states))])
        known = {name: read[asked] for name, read in batch.following.items()}
        known |= {name: read[row_N[asked]] for name, read in batch.about.items()}
        states = self.layer.ask(states, known, times[asked])
        return states if batch.friends is None else self._with_friends(states, batch.friends.at(asked))

    def ask_histories(self, states: Tensor, histories: Histories) -> Tensor:
        """(B, D) states to answer requests from; `states` (B, D) after each history, whatever for an empty one."""
        if not self.asks:
            return states
        empty = histories.lengths == 0
        newest = np.full(len(histories), MISSING_TIME)
        if histories.time is not None and not empty.all():
            newest[~empty] = histories.time[histories.end[~empty] - 1]
        about = dict(histories.about)
        # who isn't told what time it is takes that of the newest event
        at = newest if histories.at is None else histories.at
        if "time" not in about or histories.at is not None:
            about["time"] = at
        if empty.any():
            start = self.layer.start_states(len(states))
            states = torch.where(torch.from_numpy(empty).to(states.device)[:, None], start, states)
        known = {name: torch.from_numpy(np.ascontiguousarray(read)) for name, read in about.items()}
        states = self.layer.ask(states, known, torch.from_numpy(newest).to(states.device))
        if histories.friends is None:
            return states
        every = np.arange(len(histories))
        friends = histories.friends.recent(histories.item, histories.time, every, at)
        return self._with_friends(states, friends.to(states.device))

    def _with_friends(self, states: Tensor, friends: FriendEvents) -> Tensor:
        """(S, D) states with what friends did lately, each friend as the mean of the items of those events."""
        if self.layer.friends is None or not len(friends.bags):
            return states
        if self._inner is None:
            ids = self._ids
            means = F.embedding_bag(friends.items, ids.weight, friends.bags, mode="mean", sparse=ids.sparse)
        else:
            vectors = self._item_vectors(friends.items)
            means = F.embedding_bag(
                torch.arange(len(vectors), device=vectors.device), vectors, friends.bags, mode="mean"
            )
        fused: Tensor = self.layer.friends(states, means, friends.places, friends.weights)
        return fused
