"""Causal transformers that compiled code answers for: on a processor, without gradients, where there is a library.

Legend: B histories, N steps, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from onward.data.arrays import ranges
from onward.data.batch import Batch
from onward.data.sequences import Histories
from onward.models.base import Bools, Lists
from onward.models.newest import NewestAlone
from onward.models.quick import Floats, Quick, allowing, as_array
from onward.models.tables import ItemVectors
from onward.native.library import is_built
from onward.native.transformer import Catalog, Transformer, Weights


class CompiledTransformer(NewestAlone):
    """A sequence model whose states compiled code makes, the same to rounding, where nothing is learned from them."""

    _compiled: Compiled | None = None

    @abstractmethod
    def weights(self) -> Weights:
        """What the compiled code computes with, of a model that is causal."""

    def states(self, batch: Batch) -> Tensor:
        """As in `SequenceStates`."""
        compiled = None if torch.is_grad_enabled() else self._compile()
        if compiled is None:
            return super().states(batch)
        return compiled.transformer.states(self._vectors(batch), batch.lengths, newest=False)

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """As in `NewestAlone`."""
        one_each = len(places) == len(batch.lengths)
        compiled = self._compile() if one_each and not torch.is_grad_enabled() else None
        if compiled is None:
            return super().answer_states(batch, places)
        states_BD = compiled.transformer.states(self._vectors(batch), batch.lengths)
        if len(places) == 1:
            return states_BD
        return states_BD.index_select(0, torch.bucketize(places, batch.lengths.cumsum(0), right=True))

    def quick_for(self, histories: Histories) -> Quick | None:
        """As in `SequenceModel`."""
        if self.quick is not None or not self._reads_items_alone or "group" in histories.columns:
            return self.quick
        return self._compile()

    @property
    def _reads_items_alone(self) -> bool:
        reads_more = self.reads_more or self.value_range is not None or self.repeat is not None
        return isinstance(self.input, ItemVectors) and not reads_more

    def _compile(self) -> Compiled | None:
        """What was compiled of the weights as they are; None where nothing can be."""
        ready = self.output_bias
        if self.training or not self.traits.causal or not is_built() or ready.is_inference():
            return None
        if ready.device.type != "cpu" or ready.dtype != torch.float32:
            return None
        found = self._compiled
        if found is None or not found.is_current:
            found = self._compiled = Compiled(self)
        return found

    def _weights_change(self) -> None:
        super()._weights_change()
        self._compiled = None

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """PyTorch's way of moving and casting, which parameters don't count as a change."""
        self._compiled = None
        moved: Self = super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return moved


class Compiled:
    """A model's weights as compiled code reads them, and what it answers of its own: `Quick`."""

    def __init__(self, model: CompiledTransformer) -> None:
        self.transformer = Transformer(model.weights())
        self._model = model
        self._parameters = list(model.parameters())
        self._made_of = self._now()

    def _now(self) -> list[int]:
        return [parameter._version for parameter in self._parameters]

    @property
    def is_current(self) -> bool:
        """Whether the weights are those that it was made of."""
        return self._made_of == self._now()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Copies have nothing compiled yet: it holds addresses."""
        return type(None), ()

    @cached_property
    def _vectors(self) -> Tensor:
        return self._model.input_table().detach()

    @cached_property
    def _catalog(self) -> Catalog:
        return self._catalog_of(self._model.items.candidates)

    def _catalog_of(self, allowed: Bools) -> Catalog:
        vectors, biases = (as_array(part) for part in self._model.output_table())
        return Catalog(self._vectors.numpy(), vectors, allowing(biases, allowed), self._model.items.tie_rank)

    def states(self, histories: Histories) -> Floats:
        """As in `Quick`."""
        start = np.maximum(histories.start, histories.end - self._model.config.max_length)
        items = torch.from_numpy(histories.item[ranges(start, histories.end)].astype(np.int32, copy=False))
        states: Floats = self.transformer.states(self._vectors, torch.from_numpy(histories.end - start), items).numpy()
        return states

    def best(self, history: Histories, k: int, allowed: Bools, seen: Literal["exclude", "include"]) -> Lists | None:
        """As in `Quick`; None where a score is NaN."""
        catalog = self._catalog if allowed is self._model.items.candidates else self._catalog_of(allowed)
        items = history.item[history.start[0] : history.end[0]].astype(np.int32, copy=False)
        found = self.transformer.best(catalog, items, k, seen == "exclude") if k > 0 else None
        return None if found is None else Lists(*found, np.zeros(1, dtype=np.bool_))
