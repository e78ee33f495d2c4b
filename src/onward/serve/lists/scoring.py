"""Scores and states of a loaded model, by itself or by ONNX Runtime, whichever is faster here.

Legend: B requests, V items, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from time import process_time

import numpy as np
import polars as pl
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from onward.bundle import ENCODER, Bundle
from onward.data.sequences import Histories, Ints
from onward.errors import MissingExtraError
from onward.models.base import Bools
from onward.models.onnx import OnnxEncoder
from onward.models.sequence import SequenceModel
from onward.serve.lists.remembered import RememberedStates

PROBE = ((1, 50), (8, 50))
"""(rows, steps) on which the model and ONNX Runtime are compared."""
PROBE_RUNS = 20
TYPICAL_EVENTS = 50
log = structlog.get_logger("onward.serve")


@dataclass(frozen=True)
class Speed:
    """Milliseconds of one history of 50 events, by the model itself and by ONNX Runtime (None where it can't)."""

    own: float
    onnx: float | None


class Scorer:
    """A model's answers as arrays.

    Args:
        onnx: whether the bundle's graph may be used.
        remembered: bytes for states of histories that were asked for lately; with 0 each is computed anew.

    Attributes:
        speed: what was measured; None for a model without an encoder.
        table, bias: (V + 1, D) item vectors and (V + 1,) what is added to their products with states, of a model that
            has states.
        fresh: (n,) int64 ascending indices of the items whose vectors were made at run time.

    Raises FormatError for a graph that differs from the weights.
    """

    def __init__(self, bundle: Bundle, onnx: bool = True, remembered: float = 0) -> None:
        self.model = bundle.model
        self.trained: Bools = bundle.model.items.candidates
        self.speed: Speed | None = None
        self._encoder: OnnxEncoder | None = None
        self._remembered: RememberedStates | None = None
        self.table, self.bias = torch.zeros(0), torch.zeros(0)
        self._scored_by = (self.table, self.bias)
        self.fresh: Ints = np.zeros(0, dtype=np.int64)
        if isinstance(self.model, SequenceModel):
            table, bias = self.model.output_table()
            self.table, self.bias = table.detach().cpu(), bias.detach().cpu()
            self._place()
            self._choose(bundle, self.model, onnx)
            reads_more = self.model.reads_more or self.model.value_range or bundle.manifest.data.grouped
            if remembered and not reads_more:
                config = self.model.config
                self._remembered = RememberedStates(self._encode, config.max_length, config.width, remembered)

    def _place(self) -> None:
        """On a GPU, have the item vectors there as well: rules read the scores on the processor."""
        device = self.model.output_bias.device if isinstance(self.model, SequenceModel) else self.table.device
        self._scored_by = (self.table.to(device), self.bias.to(device))

    def _choose(self, bundle: Bundle, model: SequenceModel, onnx: bool) -> None:
        by_itself = _measure(lambda histories: model.encoded(histories).cpu(), model)
        self.speed = Speed(by_itself[0], None)
        if not onnx or not (bundle.path / ENCODER).is_file():
            return
        try:
            encoder = OnnxEncoder((bundle.path / ENCODER).read_bytes(), model, torch.get_num_threads())
        except MissingExtraError:  # the graph is an offer
            return
        encoder.check()
        by_onnx = _measure(encoder.states, model)
        self.speed = Speed(by_itself[0], by_onnx[0])
        if sum(by_onnx) < sum(by_itself):
            self._encoder = encoder

    @property
    def uses_onnx(self) -> bool:
        """Whether ONNX Runtime computes the states."""
        return self._encoder is not None

    @property
    def has_states(self) -> bool:
        """Whether scores are products of states and item vectors; not where items of the history are repeated."""
        return isinstance(self.model, SequenceModel) and self.model.repeat is None

    @property
    def makes_items(self) -> bool:
        """Whether states are scored against vectors that the model makes from items' features, be an item one that it
        never saw."""
        featured = self.model.featured if isinstance(self.model, SequenceModel) else None
        return self.has_states and featured is not None and featured.makes_items

    def with_items(self, rows: pl.DataFrame, indices: Ints, size: int) -> Scorer:
        """The same over a catalog in which some items came or changed since: those behind the model's own are known by
        their features alone; the scorer itself where the model makes no vectors of features.

        Args:
            rows: features of these items; columns as in the model's catalog.
            indices: (n,) int64 of the rows, ascending.
            size: N, items of the catalog.
        """
        if not self.makes_items or not len(indices):
            return self
        assert isinstance(self.model, SequenceModel)
        assert self.model.featured is not None
        own, more = self.model.items.n, size + 1 - len(self.table)
        vectors, biases = self.model.items_of(rows, torch.from_numpy(np.where(indices <= own, indices, 0)))
        wider, places = copy(self), torch.from_numpy(indices)
        wider.table = F.pad(self.table, (0, 0, 0, more)).index_copy(0, places, vectors.cpu())
        wider.bias = F.pad(self.bias, (0, more)).index_copy(0, places, biases.cpu())
        wider._place()
        wider.trained = np.append(self.trained, np.ones(more, dtype=np.bool_))
        wider.fresh = np.union1d(self.fresh, indices)
        wider.__dict__.pop("_norms", None)
        unknown = self.model.featured.layer.unknown_values(rows)
        if unknown:
            log.info(
                "values of new items that say nothing: unknown to training, or unreadable",
                model=self.model.name,
                **unknown,
            )
        return wider

    def known(self, histories: Histories) -> Bools:
        """(B,) bool: histories with an item that was seen in training; of the others the model knows nothing."""
        if isinstance(self.model, SequenceModel) and self.model.featured is not None:
            return self.model.knows(histories)
        if len(histories) == 1:  # a lone request feels every array that is made
            items = histories.item[histories.start[0] : histories.end[0]]
            return np.array([self.trained[items].any()])
        _, positions = histories.positions()
        before = np.concatenate([[0], np.cumsum(self.trained[histories.item[positions]])])
        ends = np.cumsum(histories.lengths)
        known: Bools = before[ends] > before[ends - histories.lengths]
        return known

    def typical(self, n: int) -> Histories:
        """Histories of up to 50 items drawn by popularity, the same at every call."""
        counts, rng = self.model.items.train_counts[1:], np.random.default_rng(0)
        drawn = rng.choice(len(counts), (n, TYPICAL_EVENTS), p=counts / counts.sum()) + 1
        lengths = rng.integers(1, TYPICAL_EVENTS + 1, n)
        lists = [row[:length].tolist() for row, length in zip(drawn, lengths, strict=True)]
        return Histories.from_lists(lists, len(counts))

    def states(self, histories: Histories) -> Tensor:
        """(B, D) float32 states of known histories, of a model that has them; those asked for lately are remembered."""
        found = self._encode(histories) if self._remembered is None else self._remembered.states(histories)
        assert isinstance(self.model, SequenceModel)
        return self.model.asked_by(found.to(self._scored_by[0].device), histories).cpu()

    def _encode(self, histories: Histories) -> Tensor:
        if self._encoder is not None:
            return torch.from_numpy(self._encoder.states(histories))
        assert isinstance(self.model, SequenceModel)
        return self.model.encoded(histories).cpu()

    def of_states(self, states: Tensor) -> Tensor:
        """(B, V + 1) float32 scores of states."""
        table, bias = self._scored_by
        return F.linear(states.to(table.device), table, bias).cpu()

    def scores(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 scores of known histories."""
        if self.has_states:
            return self.of_states(self.states(histories))
        return self.model.score_histories(histories).cpu()

    def scores_of(self, histories: Histories, items: Ints) -> NDArray[np.float32]:
        """(B, n) float32 scores of some items, (n,) indices, after known histories."""
        chosen = torch.from_numpy(items)
        if self.has_states:
            found = F.linear(self.states(histories), self.table[chosen], self.bias[chosen])
        else:
            found = self.model.score_histories(histories).cpu()[:, chosen]
        return found.numpy()

    def cosines(self, item: int) -> Tensor:
        """(V + 1,) float32 cosine of one item's vector with each, of a model that has states."""
        vectors = self._own_vectors
        cosines: Tensor = (vectors @ vectors[item]) / (self._norms * self._norms[item]).clamp(min=1e-12)
        return cosines

    @property
    def _own_vectors(self) -> Tensor:
        """(V + 1, D) without what only items that were never seen have appended (`Likeness`)."""
        likeness = self.model.likeness if isinstance(self.model, SequenceModel) else None
        return self.table if likeness is None else self.table[:, : -likeness.width]

    @cached_property
    def _norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self._own_vectors, dim=1)
        return norms


def _measure(states: Callable[[Histories], object], model: SequenceModel) -> list[float]:
    """Milliseconds of processor time for each shape of PROBE, of the quickest call."""
    taken = []
    for rows, steps in PROBE:
        rng = np.random.default_rng(0)
        histories = Histories.from_lists(rng.integers(1, model.items.n + 1, (rows, steps)).tolist(), model.items.n)
        states(histories)
        runs = []
        for _ in range(PROBE_RUNS):
            started = process_time()
            states(histories)
            runs.append(process_time() - started)
        taken.append(min(runs) * 1e3)  # what other processes do only ever adds to it
    return taken
