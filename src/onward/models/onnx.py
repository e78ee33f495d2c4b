"""ONNX Runtime in place of a sequence model's layers: half of PyTorch's time for one request, or less.

A graph holds the layers alone; item vectors stay in the weights and are handed to it. It reads

    items     (B, L) int64, the newest steps of each history, padded on the right
    real      (B, L) bool, false on padding
    newest    (B,) int64, places of the newest steps among the B x L
    vectors   (V + 1, D) float32, by which items are read
    outputs   (V + 1, D) float32 and
    biases    (V + 1,) float32, by which they are scored; -inf for what is not to be recommended
    places    (K,) bool, whatever they say: a graph knows by a length alone how many items are wanted

and gives the states after the newest steps, (B, D) float32, and the K best items of each, (B, K) int64, with their
scores, (B, K) float32. What is scored may be fewer items than what is read. `onnx_export` makes such graphs.

Legend: B rows, L steps of the longest, D width, V items, K wanted.
"""

from __future__ import annotations

from operator import lt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from onward.data.sequences import Histories, Ints
from onward.errors import FormatError, MissingExtraError
from onward.models.base import Bools, Lists, Recommender
from onward.models.quick import Floats, allowing, as_array
from onward.models.sequence import SequenceModel

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Scored = tuple[Floats, Floats]
"""Vectors and biases that items are scored by."""
TOLERANCE = 1e-5
"""Largest difference of a state from torch's, relative to the largest number in the states."""
WASTED_STEPS = 64
"""Padding that costs as much as one more call."""
PROBES = ((1, 1), (1, 2), (3, 7), (2, 50))
"""(rows, steps) that a graph is compared on with torch."""
INPUTS = ("items", "real", "newest", "vectors", "outputs", "biases", "places")
OUTPUTS = ("states", "scores", "best")


def need(package: str) -> None:
    """Raises MissingExtraError where a package of the extra `onnx` isn't installed."""
    try:
        __import__(package)
    except ImportError:
        raise MissingExtraError(package, "onnx") from None


class OnnxEncoder:
    """ONNX Runtime in place of a model's layers.

    Args:
        graph: what `onnx_export.export_encoder` made.
        threads: that one call may use.

    Raises:
        MissingExtraError: the extra `onnx` isn't installed.
        FormatError: this is no such graph.
    """

    def __init__(self, graph: bytes, model: SequenceModel, threads: int) -> None:
        need("onnxruntime")
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
        self._vectors = as_array(model.input_table())
        outputs, biases = model.output_table()
        self._scored = as_array(outputs), as_array(biases)
        self._allowed = allowing(self._scored[1], model.items.candidates)
        self._real = np.ones((1, self._max_length), dtype=np.bool_)
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
        rows, longest = items_BL.shape
        real_BL = np.arange(longest) < lengths_B[:, None]
        newest_B = np.arange(rows) * longest + lengths_B - 1
        found: Floats = self._run(["states"], items_BL.astype(np.int64), real_BL, newest_B, self._padding, 1)[0]
        return found

    def best(self, history: Histories, k: int, allowed: Bools, seen: Literal["exclude", "include"]) -> Lists | None:
        """As `Quick.best`: None where the best k + 1 aren't as many different scores, since the graph doesn't know the
        order of ties."""
        outputs, biases = self._scored
        if k >= len(biases):
            return None
        # each array that is made here is felt beside the graph's work
        biases = self._allowed.copy() if allowed is self._model.items.candidates else allowing(biases, allowed)
        items = history.item[history.start[0] : history.end[0]].astype(np.int64)
        if seen == "exclude":
            biases[items] = -np.inf
        window = items[None, -self._max_length :]
        steps = window.shape[1]
        real, newest = self._real[:, :steps], np.array([steps - 1])
        scores, best = self._run(["scores", "best"], window, real, newest, (outputs, biases), k + 1)
        falling = scores[0].tolist()
        if not all(map(lt, falling[1:], falling)):
            return None
        return Lists(best[:, :k], scores[:, :k], np.zeros(1, dtype=np.bool_))

    def _run(
        self, wanted: list[str], items_BL: Ints, real_BL: Bools, newest_B: Ints, scored: Scored, k: int
    ) -> list[Any]:
        given = items_BL, real_BL, newest_B, self._vectors, *scored, np.zeros(k, dtype=np.bool_)
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
