"""A sequence model as an ONNX graph, and ONNX Runtime in its place: half the time of one request, or less.

The graph holds the layers alone; item vectors stay in the weights and are handed to it. It reads

    items     (B, L) int64, the newest steps of each history, padded on the right
    real      (B, L) bool, false on padding
    newest    (B,) int64, places of the newest steps among the B x L
    vectors   (V + 1, D) float32, by which items are read
    outputs   (V + 1, D) float32 and
    biases    (V + 1,) float32, by which they are scored; -inf for what nobody is to be recommended
    unwanted  (B, N) int64, items to leave out of each list, some more than once
    places    (K,) bool, whatever they say: a graph knows by a length alone how many items are wanted

and gives the states after the newest steps, (B, D) float32, and the K best items of each, (B, K) int64, with their
scores, (B, K) float32. What is scored may be fewer items than what is read.

Legend: B rows, L steps of the longest, D width, V items, N unwanted, K wanted.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.sequences import Histories, Ints
from onward.errors import ConfigError, FormatError, MissingExtraError
from onward.models.base import Bools, Lists, Recommender
from onward.models.lru import LRURec
from onward.models.newest import NewestAlone
from onward.models.recurrent import RNN
from onward.models.rows import Rows
from onward.models.sequence import ItemVectors, SequenceModel

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]
TOLERANCE = 1e-5
"""Largest difference of a state from torch's, relative to the largest number in the states."""
WASTED_STEPS = 64
"""Padding that costs as much as one more call."""
OPSET = 23
"""The first in which attention is one node; before, it is masks and products, an eighth of the time of a state."""
PROBES = ((1, 1), (1, 2), (3, 7), (2, 50))
"""(rows, steps) that a graph is compared on with torch."""
INPUTS = ("items", "real", "newest", "vectors", "outputs", "biases", "unwanted", "places")
OUTPUTS = ("states", "scores", "best")


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
        unwanted_BN: Tensor,
        places_K: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        states_BD = self._states(F.embedding(items_BL, vectors_VD), _Padded(real_BL), newest_B)
        scores_BV = F.linear(states_BD, outputs_VD, biases_V).scatter(1, unwanted_BN, -torch.inf)
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
        _need(package)
    config, dim, length = model.config, torch.export.Dim, min(7, model.config.max_length)
    sample = (
        torch.ones(2, length, dtype=torch.int64),
        torch.ones(2, length, dtype=torch.bool),
        torch.tensor([0, length]),
        torch.randn(9, config.width),
        torch.randn(8, config.width),
        torch.randn(8),
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(5, dtype=torch.bool),
    )
    rows, steps, scored = dim("rows"), dim("steps", max=config.max_length), dim("scored")
    unwanted = rows, dim("unwanted")
    sizes = (rows, steps), (rows, steps), (rows,), (dim("read"),), (scored,), (scored,), unwanted, (dim("k"),)
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
        inputs = tuple(one.name for one in self._session.get_inputs())
        if inputs != INPUTS:
            raise FormatError(f"encoder.onnx reads {list(inputs)}, not {list(INPUTS)}", "export it again")
        self._model = model
        self._max_length = model.config.max_length
        self._vectors = _array(model.input_table())
        outputs, biases = model.output_table()
        self._scored = _array(outputs), _array(biases)
        self._padding = self._vectors[:1], np.zeros(1, dtype=np.float32)

    def states(self, histories: Histories) -> Floats:
        """(B, D) float32 state after each history's newest step; histories of one item or more."""
        start = np.maximum(histories.start, histories.end - self._max_length)
        lengths = histories.end - start
        if len(lengths) == 1:
            return self._states(histories.item[None, start[0] : histories.end[0]], lengths)
        states = np.empty((len(lengths), self._vectors.shape[1]), dtype=np.float32)
        for rows in _alike(lengths):
            place = start[rows, None] + np.arange(lengths[rows].max())
            items = histories.item[np.minimum(place, len(histories.item) - 1)]  # what stands after a row is never read
            states[rows] = self._states(items, lengths[rows])
        return states

    def _states(self, items_BL: NDArray[np.int32], lengths_B: Ints) -> Floats:
        """With lists of padding alone, which cost nothing."""
        nothing = np.zeros((len(lengths_B), 0), dtype=np.int64)
        found: Floats = self._run(["states"], items_BL.astype(np.int64), lengths_B, self._padding, nothing, 1)[0]
        return found

    def best(self, history: Histories, k: int, allowed: Bools, seen: Literal["exclude", "include"]) -> Lists | None:
        """As `Quick.best`: None where the best k + 1 aren't as many different scores, since the graph doesn't know the
        order of ties."""
        outputs, biases = self._scored
        if k >= len(biases):
            return None
        biases = np.where(allowed, biases, -np.inf)
        biases[0] = -np.inf
        items = history.item[None, history.start[0] : history.end[0]].astype(np.int64)
        window, unwanted = items[:, -self._max_length :], items if seen == "exclude" else items[:, :0]
        lengths = np.array([window.shape[1]])
        scores, best = self._run(["scores", "best"], window, lengths, (outputs, biases), unwanted, k + 1)
        if not (scores[0, 1:] < scores[0, :-1]).all():
            return None
        return Lists(best[:, :k], scores[:, :k], np.zeros(1, dtype=np.bool_))

    def _run(
        self,
        wanted: list[str],
        items_BL: Ints,
        lengths_B: Ints,
        scored: tuple[Floats, Floats],
        unwanted_BN: Ints,
        k: int,
    ) -> list[Any]:
        rows, longest = items_BL.shape
        real_BL = np.arange(longest) < lengths_B[:, None]
        newest_B = np.arange(rows) * longest + lengths_B - 1
        given = items_BL, real_BL, newest_B, self._vectors, *scored, unwanted_BN, np.zeros(k, dtype=np.bool_)
        found: list[Any] = self._session.run(wanted, dict(zip(INPUTS, given, strict=True)))
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


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().cpu().numpy()
    return array


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
    model.quick = encoder


def _alike(lengths: Ints) -> list[Ints]:
    """Rows of like lengths together, so that little of a batch is padding."""
    order = np.argsort(-lengths, kind="stable")
    groups, wasted, first = [], 0, 0
    for place, length in enumerate(lengths[order].tolist()):
        wasted += int(lengths[order[first]]) - length
        if wasted > WASTED_STEPS:
            groups.append(order[first:place])
            first, wasted = place, 0
    return [*groups, order[first:]]
