"""The compiled cross-entropy over the whole catalog.

Legend: S states, T targets, V items, D width.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from onward.native.library import at, library

PART_ROWS = 256
"""States that keep a thread busy long enough."""

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""(T,) log-probability of each target and (T,) its weight times what of that comes of the softmax; the gradients of the
loss by (S, D) states, (V, D) table and (V,) bias."""


class Predictions(NamedTuple):
    """What `losses.full_softmax` is asked for, with weights that sum to one.

    Attributes:
        states: (S, D). table: (V, D). bias: (V,). targets, weights: (T,). owners: (T,) or None, as there.
        asked, other: (T,) of a mixture, as there; both None without one.
    """

    states: Tensor
    table: Tensor
    bias: Tensor
    targets: Tensor
    weights: Tensor
    owners: Tensor | None
    asked: Tensor | None
    other: Tensor | None


def softmax_gradients(predictions: Predictions) -> Gradients:
    """The loss target by target, and its gradients, in as many threads as PyTorch has.

    All on the processor; float32, `targets` and `owners` int64. The same number of threads gives the same bits.

    Raises:
        IndexError: a target is no item of the table, or its owner no state.
        ValueError: sizes, types or devices don't fit, or owners don't ascend.
        MemoryError: there isn't enough to work in.
    """
    _check(predictions)
    states, _, _, targets, weights, owners, asked, other = predictions
    threads = max(1, min(torch.get_num_threads(), len(states) // PART_ROWS))
    edges = [len(states) * part // threads for part in range(threads + 1)]
    firsts = edges if owners is None else torch.searchsorted(owners, owners.new_tensor(edges)).tolist()

    def work(part: int) -> Gradients:
        mine = slice(firsts[part], firsts[part + 1])
        theirs = predictions._replace(
            states=states[edges[part] : edges[part + 1]],
            targets=targets[mine],
            weights=weights[mine],
            owners=None if owners is None else owners[mine] - edges[part],
            asked=None if asked is None else asked[mine],
            other=None if other is None else other[mine],
        )
        return _one_thread(theirs)

    if threads == 1:
        return _one_thread(predictions)
    with ThreadPoolExecutor(threads) as pool:
        log_target, scale, grad_states, grad_tables, grad_biases = zip(*pool.map(work, range(threads)), strict=True)
    return (
        torch.cat(log_target),
        torch.cat(scale),
        torch.cat(grad_states),
        torch.stack(grad_tables).sum(0),
        torch.stack(grad_biases).sum(0),
    )


def _check(predictions: Predictions) -> None:
    """What PyTorch would find out on its way; the library reads memory as it is told to."""
    states, table, _, targets, _, owners, asked, other = predictions
    of_targets = (len(states) if owners is None else len(targets),)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(Predictions._fields, of_targets)
    shapes |= {"states": (len(states), table.shape[1]), "table": (len(table), table.shape[1]), "bias": (len(table),)}
    for name, tensor in predictions._asdict().items():
        wanted = torch.int64 if name in ("targets", "owners") else torch.float32
        if tensor is not None and (tensor.dtype != wanted or tensor.device.type != "cpu"):
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, and has to be {wanted} on the processor")
        if tensor is not None and tensor.shape != shapes[name]:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)} where {shapes[name]} is needed")
    if (asked is None) != (other is None):
        raise ValueError("a mixture has both, what is asked and the other")
    for name, numbers, size in (("targets", targets, len(table)), ("owners", owners, len(states))):
        if numbers is not None and len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < size:
            raise IndexError(f"{name} are {int(numbers.min())} to {int(numbers.max())}, of {size} rows")
    if owners is not None and bool((owners.diff() < 0).any()):
        raise ValueError("owners don't ascend")


def _one_thread(predictions: Predictions) -> Gradients:
    states, table, bias, targets, weights = (tensor.contiguous() for tensor in predictions[:5])
    owners, asked, other = (None if tensor is None else tensor.contiguous() for tensor in predictions[5:])
    log_target, scale = torch.empty_like(weights), torch.empty_like(weights)
    grad_states, grad_table, grad_bias = torch.empty_like(states), torch.empty_like(table), torch.empty_like(bias)
    passed = (
        *(at(states), len(states), at(table), at(bias), *table.shape, at(targets), at(owners), len(targets)),
        *map(at, (weights, asked, other, log_target, scale, grad_states, grad_table, grad_bias)),
    )
    if not library().softmax_loss(*passed):
        raise MemoryError(f"the loss over {len(table)} items found no memory to work in")
    return log_target, scale, grad_states, grad_table, grad_bias
