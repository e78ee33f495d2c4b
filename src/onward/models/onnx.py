"""A sequence model's encoder as an ONNX graph, and ONNX Runtime in its place: half the time of one request, or less.

The graph holds the layers alone. It reads input vectors, (B, L, D) float32 padded on the right, and lengths, (B,)
int64, and gives the state after each row's newest step, (B, D) float32. Item vectors stay in the weights.

Legend: B rows, L steps of the longest, D width.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onward.data.sequences import Histories
from onward.errors import ConfigError, FormatError, MissingExtraError
from onward.models.base import Recommender
from onward.models.lru import LRURec
from onward.models.newest import NewestAlone
from onward.models.recurrent import RNN
from onward.models.rows import Rows
from onward.models.sequence import ItemVectors, SequenceModel

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TOLERANCE = 1e-5
"""Largest difference of a state from torch's, relative to the largest number in the states."""
WASTED_STEPS = 64
"""Padding that costs as much as one more call."""
OPSET = 23
"""The first in which attention is one node; before, it is masks and products, an eighth of the time of a state."""
PROBES = ((1, 1), (1, 2), (3, 7), (2, 50))
"""(rows, steps) that a graph is compared on with torch."""


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

    def __init__(self, lengths: Tensor, longest: int) -> None:
        self.lengths, self.longest, self.full = lengths, longest, False


class _Newest(nn.Module):
    """From padded vectors to the state after each row's newest step."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors_BLD: Tensor, lengths_B: Tensor) -> Tensor:
        longest = vectors_BLD.shape[1]
        rows = _Padded(lengths_B, longest)
        newest_B = torch.arange(vectors_BLD.shape[0]) * longest + lengths_B - 1
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
        _need(package)
    batch, length = torch.export.Dim("rows"), torch.export.Dim("steps", max=model.config.max_length)
    sample = torch.randn(2, min(7, model.config.max_length), model.config.width), torch.tensor([1, 1])
    with _quiet():
        program = torch.onnx.export(
            _Newest(model).eval(),
            sample,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=["vectors", "lengths"],
            output_names=["states"],
            dynamic_shapes={"vectors_BLD": {0: batch, 1: length}, "lengths_B": {0: batch}},
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


def _need(package: str) -> None:
    try:
        __import__(package)
    except ImportError:
        raise MissingExtraError(package, "onnx") from None


class OnnxEncoder:
    """ONNX Runtime in place of a model's layers.

    Args:
        graph: what `export_encoder` made.
        threads: that one call may use.

    Raises:
        MissingExtraError: the extra `onnx` isn't installed.
        FormatError: this is no such graph.
    """

    def __init__(self, graph: bytes, model: SequenceModel, threads: int) -> None:
        _need("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would keep a core from others
        try:
            self._session: InferenceSession = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own errors have no common base
            raise FormatError(f"encoder.onnx can't be loaded: {type(error).__name__}", "export it again") from None
        inputs = [one.name for one in self._session.get_inputs()]
        if inputs != ["vectors", "lengths"] or len(self._session.get_outputs()) != 1:
            raise FormatError(f"encoder.onnx reads {inputs}, not ['vectors', 'lengths']", "export it again")
        self._model = model
        self._table: NDArray[np.float32] = model.input_table().detach().cpu().numpy()
        self._max_length = model.config.max_length

    def states(self, histories: Histories) -> NDArray[np.float32]:
        """(B, D) float32 state after each history's newest step; histories of one item or more."""
        start = np.maximum(histories.start, histories.end - self._max_length)
        lengths = histories.end - start
        if len(lengths) == 1:
            return self._run(histories.item[None, start[0] : histories.end[0]], lengths)
        states = np.empty((len(lengths), self._table.shape[1]), dtype=np.float32)
        for rows in _alike(lengths):
            place = start[rows, None] + np.arange(lengths[rows].max())
            items = histories.item[np.minimum(place, len(histories.item) - 1)]  # what stands after a row is never read
            states[rows] = self._run(items, lengths[rows])
        return states

    def _run(self, items_BL: NDArray[np.int32], lengths_B: NDArray[np.int64]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._session.run(None, {"vectors": self._table[items_BL], "lengths": lengths_B})[
            0
        ]
        return found

    def check(self) -> None:
        """Compare with torch on random histories. Raises FormatError where the states differ."""
        rng = np.random.default_rng(0)
        for rows, steps in PROBES:
            lengths = rng.integers(1, min(steps, self._max_length) + 1, rows)
            lists = [rng.integers(1, self._model.items.n + 1, length).tolist() for length in lengths]
            histories = Histories.from_lists(lists, self._model.items.n)
            wanted, found = self._model.encoded(histories).cpu().numpy(), self.states(histories)
            error = np.abs(found - wanted).max() / np.abs(wanted).max()
            if found.shape != wanted.shape or not error <= TOLERANCE:
                raise FormatError(
                    f"encoder.onnx gives other states than the weights do: they differ by {error:.1e}",
                    "export it again",
                )


def answer_by_graph(model: Recommender, graph: bytes) -> None:
    """Let a model answer few histories at once by its graph, until its weights change.

    Raises:
        MissingExtraError: the extra `onnx` isn't installed.
        FormatError: this is no graph, or one of other weights.
    """
    if not isinstance(model, SequenceModel):
        raise FormatError(f"encoder.onnx beside a model '{model.name}', which has no encoder", "export it again")
    encoder = OnnxEncoder(graph, model, threads=1)  # threads would wait for each other longer than they work
    encoder.check()
    model.quick_states = encoder.states


def _alike(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of like lengths together, so that little of a batch is padding."""
    order = np.argsort(-lengths, kind="stable")
    groups, wasted, first = [], 0, 0
    for place, length in enumerate(lengths[order].tolist()):
        wasted += int(lengths[order[first]]) - length
        if wasted > WASTED_STEPS:
            groups.append(order[first:place])
            first, wasted = place, 0
    return [*groups, order[first:]]
