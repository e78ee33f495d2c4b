"""A sequence model's layers as an ONNX graph, which reads and gives what `onnx` says.

Legend: B rows, L steps of the longest, D width, V items, K wanted.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.errors import ConfigError
from onward.models.base import Recommender
from onward.models.lru import LRURec
from onward.models.newest import NewestAlone
from onward.models.onnx import INPUTS, OUTPUTS, OnnxEncoder, need
from onward.models.recurrent import RNN
from onward.models.rows import Rows
from onward.models.sequence import SequenceModel
from onward.models.tables import ItemVectors

OPSET = 23
"""The first in which attention is one node; before, it is masks and products, an eighth of the time of a state."""


def why_not(model: Recommender, grouped: bool) -> str | None:
    """Why a model's encoder can't become a graph; None where it can. `grouped`: whether its data has groups."""
    name = model.name
    if not isinstance(model, SequenceModel):
        return f"'{name}' has no encoder: only sequence models have one"
    if isinstance(model, LRURec):
        return f"'{name}' computes with complex numbers, which ONNX doesn't have"
    if isinstance(model, RNN):
        return f"torch's exporter writes '{name}' out for histories of one length"
    if model.traits.timed:
        return f"'{name}' reads the times of events beside the items"
    if model.repeat is not None:
        return f"this '{name}' repeats items of the history, which a graph would know by their state alone"
    if model.traits.cloze:
        return f"'{name}' answers at a mask that it puts after the history"
    if not isinstance(model.input, ItemVectors):
        return f"this '{name}' reads items one-hot"
    if model.features is not None and model.features.events is not None:
        return f"this '{name}' reads features of events beside the items"
    if model.value_range is not None:
        return f"this '{name}' reads the values of events beside the items"
    if grouped:
        return f"this '{name}' reads groups of events, and a graph would read one event a step"
    return None


class _Padded(Rows):
    """Rows of a graph: nothing of them is known beforehand."""

    def __init__(self, real: Tensor) -> None:
        self.real, self.lengths, self.longest, self.full = real, real.sum(1), real.shape[1], False


class _Graph(nn.Module):
    """What the graph computes."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        items_BL: Tensor,
        real_BL: Tensor,
        newest_B: Tensor,
        vectors_VD: Tensor,
        outputs_VD: Tensor,
        biases_V: Tensor,
        places_K: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        states_BD = self._states(F.embedding(items_BL, vectors_VD), _Padded(real_BL), newest_B)
        scores_BV = F.linear(states_BD, outputs_VD, biases_V)
        return states_BD, *scores_BV.topk(places_K.shape[0])

    def _states(self, vectors_BLD: Tensor, rows: Rows, newest_B: Tensor) -> Tensor:
        if isinstance(self.model, NewestAlone):  # its last block works for the newest step alone
            return self.model.newest_states(vectors_BLD, rows, newest_B).squeeze(1)
        return self.model.encode(vectors_BLD, rows).flatten(0, 1).index_select(0, newest_B)


def export_encoder(model: Recommender, grouped: bool) -> bytes:
    """The graph of a model's encoder, compared with torch on random histories. `grouped`: as in `why_not`.

    Raises:
        ConfigError: this model's encoder can't become a graph; says why.
        MissingExtraError: the extra `onnx` isn't installed.
    """
    reason = why_not(model, grouped)
    if reason is not None:
        raise ConfigError(f"no ONNX graph: {reason}", "export without --onnx; the server then computes with torch")
    assert isinstance(model, SequenceModel)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        need(package)
    config, dim, length = model.config, torch.export.Dim, min(7, model.config.max_length)
    sample = (
        torch.ones(2, length, dtype=torch.int64),
        torch.ones(2, length, dtype=torch.bool),
        torch.tensor([0, length]),
        torch.randn(9, config.width),
        torch.randn(8, config.width),
        torch.randn(8),
        torch.zeros(5, dtype=torch.bool),
    )
    rows, steps, scored = dim("rows"), dim("steps", max=config.max_length), dim("scored")
    sizes = (rows, steps), (rows, steps), (rows,), (dim("read"),), (scored,), (scored,), (dim("k"),)
    with _quiet():
        program = torch.onnx.export(
            _Graph(model).eval(),
            sample,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=[dict(enumerate(one)) for one in sizes],
        )
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    OnnxEncoder(graph, model, threads=1).check()
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about itself."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
