"""Compiled states of causal transformers: the blocks of SASRec and eSASRec, without gradients.

Legend: B histories, N their steps, D width, H heads, V items.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import Structure, addressof, c_ssize_t, c_void_p
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from onward.native.library import at, library

PART_STEPS = 2_048
"""Steps that keep a thread busy long enough."""
EPSILON = 1e-5
"""Of norms, in the library."""
_WRONG = {
    1: (MemoryError, "there is no memory to compute states in"),
    2: (ValueError, "the weights are not as many as a model of these sizes has"),
    3: (ValueError, "histories of no steps, or more than there are positions, or of more or fewer than there are"),
    4: (IndexError, "an item has no vector"),
}
"""What the library returns -> what it means."""
_NOT_A_NUMBER = 5

Floats = NDArray[np.float32]

Layer = tuple[Tensor, Tensor | None]
"""A matrix (outputs, inputs) and its bias, as `F.linear` takes them; or the gain and offset of a norm."""


class Gates(NamedTuple):
    """What weighs the two parts that a block adds, each a (D, D) matrix and its bias."""

    attention: Layer
    feed_forward: Layer


class Block(NamedTuple):
    """Attention and feed-forward, each on normalised input and added to what came in.

    Attributes:
        widen: one layer, whose outputs go through GELU; or with `gates` two, of a SwiGLU.
    """

    attention_norm: Layer
    query: Layer
    key: Layer
    value: Layer
    project: Layer
    forward_norm: Layer
    widen: tuple[Layer, ...]
    narrow: Layer
    gates: Gates | None


class Weights(NamedTuple):
    """Of a whole transformer.

    Attributes:
        position: (longest, D), added to the vectors of items times the root of D.
        asked, mixed: attention of the last block with its matrices folded together, (H x D, D) and (D, H x D), as
            `onward.models.attention.fold` makes them.
    """

    position: Tensor
    blocks: Sequence[Block]
    asked: Layer
    mixed: Layer
    norm: Layer
    heads: int


def layer(module: nn.Linear | nn.LayerNorm) -> Layer:
    """A PyTorch layer's weight and bias. Raises ValueError for a norm with another epsilon than PyTorch's default."""
    if isinstance(module, nn.LayerNorm) and module.eps != EPSILON:
        raise ValueError(f"a norm with epsilon {module.eps}, and the library computes with {EPSILON}")
    return module.weight, module.bias


class _Model(Structure):
    """As in `model.h`."""

    _fields_ = (
        ("weights", c_void_p),
        *((name, c_ssize_t) for name in ("floats", "positions", "width", "heads", "inner", "blocks", "gated")),
    )


class _Catalog(Structure):
    """As in `model.h`."""

    _fields_ = (*((name, c_void_p) for name in ("read", "scored", "biases", "tie_rank")), ("items", c_ssize_t))


class Catalog:
    """Items as the compiled code reads and scores them; arrays aren't copied.

    Args:
        read, scored: (V, D) float32 vectors that enter and that states are scored by.
        biases: (V,) float32, -inf for what may not be recommended.
        tie_rank: (V,) int32; of two items with one score, the lower comes first.

    Raises ValueError: an array isn't of these shapes and types, or not contiguous.
    """

    def __init__(self, read: Floats, scored: Floats, biases: Floats, tie_rank: NDArray[np.int32]) -> None:
        self._arrays = (read, scored, biases, tie_rank)  # kept alive
        shapes = (read.shape, read.shape, read.shape[:1], read.shape[:1])
        for array, shape, wanted in zip(self._arrays, shapes, [*[np.float32] * 3, np.int32], strict=True):
            if array.shape != shape or array.dtype != wanted or not array.flags.c_contiguous:
                raise ValueError(f"an array of {array.dtype}, {array.shape}; {wanted.__name__}, {shape} is needed")
        self.width = read.shape[1]
        self._c = _Catalog(*map(at, self._arrays), len(read))
        self.address = addressof(self._c)


class Transformer:
    """Weights as the compiled code reads them, copied: it doesn't see them change.

    Float32 on the processor; to be made only where `is_built`.
    """

    def __init__(self, weights: Weights) -> None:
        longest, self._width = weights.position.shape
        first, columns = weights.blocks[0], library().tile_columns()
        with torch.no_grad():
            self._packed = torch.cat([part.flatten() for part in _pack(weights, columns)])
        sizes = (self._width, weights.heads, len(first.widen[0][0]), len(weights.blocks), first.gates is not None)
        self._model = _Model(at(self._packed), len(self._packed), longest, *sizes)
        self._address = addressof(self._model)

    def states(self, vectors: Tensor, lengths: Tensor, items: Tensor | None = None, newest: bool = True) -> Tensor:
        """(B, D) states after each history's newest step, or (N, D) after every one; in as many threads as PyTorch has.

        A history's states are the same bits whatever stands beside it.

        Args:
            vectors: (N, D) float32 what is read at each step, history after history; with `items`, of all items.
            lengths: (B,) int64 steps of each history, at least 1 and at most as many as there are positions.
            items: (N,) int32 rows of `vectors`.

        Raises:
            ValueError: sizes, types or devices don't fit.
            IndexError: an item has no vector.
            MemoryError: there isn't enough to work in.
        """
        for tensor, wanted in ((vectors, torch.float32), (lengths, torch.int64), (items, torch.int32)):
            if tensor is not None and (tensor.dtype != wanted or tensor.device.type != "cpu"):
                raise ValueError(f"{tensor.dtype} on {tensor.device}, and {wanted} on the processor is needed")
        if vectors.dim() != 2 or vectors.shape[1] != self._width:
            raise ValueError(f"vectors of the shape {tuple(vectors.shape)}, and the model is {self._width} wide")
        steps = (vectors if items is None else items).shape[0]
        threads = min(torch.get_num_threads(), steps // PART_STEPS, lengths.shape[0])
        if threads <= 1:
            return self._one_thread(vectors, lengths, items, newest)
        ends = lengths.cumsum(0)
        shares = torch.arange(1, threads) * (steps / threads)
        histories = [0, *torch.searchsorted(ends, shares).tolist(), len(lengths)]
        begins = [0, *ends.tolist()]

        def work(part: int) -> Tensor:
            first, end = histories[part], histories[part + 1]
            mine = slice(begins[first], begins[end])
            if items is None:
                return self._one_thread(vectors[mine], lengths[first:end], None, newest)
            return self._one_thread(vectors, lengths[first:end], items[mine], newest)

        with ThreadPoolExecutor(threads) as pool:
            return torch.cat(list(pool.map(work, range(threads))))

    def _one_thread(self, vectors: Tensor, lengths: Tensor, items: Tensor | None, newest: bool) -> Tensor:
        vectors, lengths = vectors.contiguous(), lengths.contiguous()
        items = None if items is None else items.contiguous()
        steps = (vectors if items is None else items).shape[0]
        states = torch.empty(lengths.shape[0] if newest else steps, self._width)
        asked = (at(vectors), vectors.shape[0], at(items), steps, at(lengths), lengths.shape[0], newest, at(states))
        _raise(library().transformer_states(self._address, *asked))
        return states

    def best(
        self, catalog: Catalog, history: NDArray[np.int32], k: int, exclude: bool
    ) -> tuple[NDArray[np.int64], Floats] | None:
        """The k best items after one history: (1, k) items and (1, k) scores; 0 and -inf where there are fewer.

        Best first, ties by `tie_rank`. None where a score is NaN.

        Args:
            history: (L,) items, one or more, of which the newest are read.
            exclude: whether they are left out.

        Raises:
            ValueError: sizes or types don't fit.
            IndexError: an item of the history isn't in the catalog.
            MemoryError: there isn't enough to work in.
        """
        if history.dtype != np.int32 or not history.flags.c_contiguous or catalog.width != self._width or k < 1:
            raise ValueError(
                "a contiguous history of int32, a catalog as wide as the model, and k of 1 or more are needed"
            )
        items, scores = np.empty((1, k), dtype=np.int64), np.empty((1, k), dtype=np.float32)
        asked = (at(history), len(history), exclude, k, at(items), at(scores))
        wrong = library().transformer_best(self._address, catalog.address, *asked)
        if wrong == _NOT_A_NUMBER:
            return None
        _raise(wrong)
        return items, scores


def _raise(wrong: int) -> None:
    if wrong:
        kind, said = _WRONG[wrong]
        raise kind(said)


def _pack(weights: Weights, columns: int) -> list[Tensor]:
    """In the order in which `transformer.cpp` reads them; rows filled up with zeros to whole tiles of `columns`."""

    def filled(tensor: Tensor) -> Tensor:
        return F.pad(tensor, (0, -tensor.shape[-1] % columns))

    def linear(layer: Layer) -> list[Tensor]:
        weight, bias = layer
        by_input = filled(weight.T)
        tiles = by_input.reshape(len(by_input), -1, columns).transpose(0, 1)
        return [tiles, by_input.new_zeros(by_input.shape[1]) if bias is None else filled(bias)]

    def norm(layer: Layer) -> list[Tensor]:
        gain, offset = layer
        assert offset is not None
        return [filled(gain), filled(offset)]

    def block(one: Block) -> list[Tensor]:
        attention = [part for layer in (one.query, one.key, one.value, one.project) for part in linear(layer)]
        feed_forward = [part for layer in (*one.widen, one.narrow, *(one.gates or ())) for part in linear(layer)]
        return [*norm(one.attention_norm), *attention, *norm(one.forward_norm), *feed_forward]

    heads, width = weights.heads, weights.position.shape[1]
    (asked, asked_bias), (mixed, mixed_bias) = weights.asked, weights.mixed
    assert asked_bias is not None
    by_head = filled(asked.view(heads, width, width).mT).transpose(1, 2).flatten(0, 1)  # each head fills whole tiles
    mixed_by_head = filled(mixed.view(width, heads, width)).flatten(1)
    return [
        filled(weights.position),
        *(part for one in weights.blocks for part in block(one)),
        *linear((by_head, filled(asked_bias.view(heads, width)).flatten())),
        *linear((mixed_by_head, mixed_bias)),
        *norm(weights.norm),
    ]
