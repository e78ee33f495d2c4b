"""Losses as pure functions.

Shapes: N predictions, S states, T targets, D width, V items. Weights are float32; every loss is the weighted mean over
predictions, a scalar.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onward.native.library import is_built
from onward.native.softmax import Gradients, Predictions, softmax_gradients
from onward.preferences import CHUNK_ROWS


def full_softmax(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    weights: Tensor,
    precision: torch.dtype = torch.float32,
    chunk_rows: int = CHUNK_ROWS,
    owners: Tensor | None = None,
    copied: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Cross-entropy over the whole catalog, without ever holding (S, V) logits.

    Args:
        states: (S, D). table: (V, D). bias: (V,). targets: (T,) int64 rows of the table. weights: (T,).
        precision: of the logits and their matrix products; sums over chunks and all gradients given back keep the
            precision of the arguments.
        chunk_rows: rows whose logits PyTorch holds at once. The compiled kernel, which takes float32 on a processor,
            chooses for itself.
        owners: (T,) int64, ascending: the state that each target follows; None where S = T and each has its own. All
            targets of a state (a basket) share its logits.
        copied: for a mixture of the softmax with another distribution, two (T,) tensors: the log-probability of the
            softmax being asked, and that of the target coming from the other one, -inf where it can't. The loss is
            then -log(exp(first) softmax(target) + exp(second)).
    """
    if states.shape[1] != table.shape[1]:
        raise ValueError(f"states are {states.shape[1]} wide and the item table is {table.shape[1]}")
    asked, other = (None, None) if copied is None else copied
    loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
        states, table, bias, asked, other, targets, weights, owners, precision, chunk_rows
    )
    return loss


class _FullSoftmax(torch.autograd.Function):
    """The gradient is made in the forward pass, some rows at a time, since it needs the same probabilities as the loss.

    With another distribution mixed in, the gradient by a state's logits is that of the softmax alone times the
    posterior probability that the target came from the softmax, which is known as soon as its logits are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        asked: Tensor | None,
        other: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        owners: Tensor | None,
        precision: torch.dtype,
        chunk_rows: int,
    ) -> Tensor:
        weights = weights / weights.sum()
        predictions = Predictions(states, table, bias, targets, weights, owners, asked, other)
        if precision == states.dtype == torch.float32 and states.device.type == "cpu" and is_built():
            log_target, scale, *gradients = softmax_gradients(predictions)
        else:
            log_target, scale, *gradients = _in_chunks(predictions, precision, chunk_rows)
        mixed = (None, None) if asked is None else (-scale, scale - weights)
        ctx.save_for_backward(*gradients, *mixed)
        return -(log_target * weights).sum()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (None if grad is None else grad * grad_output for grad in ctx.saved_tensors)
        return *gradients, None, None, None, None, None


def _in_chunks(predictions: Predictions, precision: torch.dtype, chunk_rows: int) -> Gradients:
    """What `softmax_gradients` gives, by PyTorch: on any device, in any precision."""
    states, table, bias, targets, weights, owners, asked, other = predictions
    precision = precision if states.dtype == torch.float32 else states.dtype
    scale = weights.clone()  # (T,) weight of each target's softmax in the gradient
    low_states, low_table, low_bias = states.to(precision), table.to(precision), bias.to(precision)
    wide = F.pad(states, (0, 1), value=1.0)  # (S, D + 1): a bias is one more column whose state is 1
    log_target, grad_states = torch.empty_like(scale), torch.empty_like(states)
    grad_output = states.new_zeros(table.shape[1] + 1, len(table))
    on_processor, whole = states.device.type == "cpu", precision == states.dtype
    wide_table = None
    if on_processor and whole:  # spares writing the bias into each logit beforehand
        wide_table = torch.cat([table, bias[:, None]], 1).T.contiguous()
    buffers = low_states.new_empty(1 if on_processor else 2, min(chunk_rows, len(states)), len(table))
    for first in range(0, len(states), chunk_rows):
        rows = slice(first, first + chunk_rows)
        state = low_states[rows]
        logits, probabilities = buffers[0, : len(state)], buffers[-1, : len(state)]
        if wide_table is None:
            torch.addmm(low_bias, state, low_table.T, out=logits)
        else:
            torch.mm(wide[rows], wide_table, out=logits)
        torch.softmax(logits, 1, out=probabilities)  # a processor's kernel reads a row before it writes it
        mine, place = _targets_of(rows, len(state), owners, states.device)
        log_target[mine] = probabilities[place, targets[mine]].to(scale.dtype).log()
        if asked is not None and other is not None:
            from_softmax = asked[mine] + log_target[mine]
            log_target[mine] = torch.logaddexp(from_softmax, other[mine])
            scale[mine] *= (from_softmax - log_target[mine]).exp()
        row_scale = scale[mine] if owners is None else scale.new_zeros(len(state)).index_add_(0, place, scale[mine])
        torch.mul(probabilities @ low_table, row_scale[:, None], out=grad_states[rows])
        weighted = wide[rows] * row_scale[:, None]
        if whole:
            grad_output.addmm_(weighted.T, probabilities)
        else:
            grad_output += weighted.to(precision).T.contiguous() @ probabilities
    # the gradient by the logits is the probabilities less one at the target; subtracted in the same rounding, so that
    # a target of probability one gives no gradient
    wanted = low_table[targets] * scale[:, None]
    if owners is None:
        grad_states -= wanted
    else:
        grad_states.index_add_(0, owners, wanted, alpha=-1)
    at_targets = (wide if owners is None else wide[owners]) * scale[:, None]
    grad_output -= rows_added(at_targets.to(precision).to(states.dtype), targets, len(table)).T
    return log_target, scale, grad_states, grad_output[:-1].T.contiguous(), grad_output[-1].contiguous()


def rows_added(values: Tensor, rows: Tensor, size: int) -> Tensor:
    """(size, D) sums of those of (N, D) values that go to each row, (N,) int64.

    By the kernel that makes the gradient of embeddings: on a GPU `index_add_` adds in any order, or, told to be
    reproducible, one by one within a row.
    """
    added: Tensor = torch.ops.aten.embedding_dense_backward(values, rows, size, -1, False)
    return added


def _targets_of(rows: slice, size: int, owners: Tensor | None, device: torch.device) -> tuple[slice, Tensor]:
    """Which targets belong to a chunk of `size` states, and the row of the chunk that each of them follows."""
    if owners is None:
        return rows, torch.arange(size, device=device)
    begin, end = torch.searchsorted(owners, owners.new_tensor([rows.start, rows.start + size])).tolist()
    return slice(begin, end), owners[begin:end] - rows.start


def supervised_contrastive(states: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """States of one label are pulled together, all others apart (Khosla et al., NeurIPS 2020, arXiv:2004.11362).

    Two views of each row, by dropout alone or by augmentation too, and labels that are the next item: the supervised
    contrast of DuoRec (Qiu et al., WSDM 2022, arXiv:2110.05730), with cosines in place of inner products.

        mean over i of  -1 / |P(i)| * sum over p in P(i) of log(exp(c[i, p] / t) / sum over a != i of exp(c[i, a] / t))

    Args:
        states: (M, D). labels: (M,) int64, each at least twice. P(i) are the others of label i; c are cosines, t is the
            temperature.
    """
    directions = F.normalize(states, dim=1)
    itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
    logits = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    log_shares = torch.log_softmax(logits, 1).masked_fill(~positive, 0.0)
    return -(log_shares.sum(1) / positive.sum(1)).mean()


def mse(predicted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error. All (N,)."""
    return weighted_mean((predicted - wanted) ** 2, weights)


def interest_mse(logits: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of sigmoid(logits) from what is wanted in [0, 1]. All (T,)."""
    return mse(logits.sigmoid(), wanted, weights)


def interest_bce(logits: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(logits) against what is wanted, anywhere in [0, 1]. All (T,)."""
    return weighted_mean(F.binary_cross_entropy_with_logits(logits, wanted, reduction="none"), weights)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Of (N,) values, a scalar."""
    return (values * weights).sum() / weights.sum()
