"""Losses as pure functions.

Shapes: N predictions, D width, V items, K negatives shared by all predictions. Weights are (N,) float32; every
loss is the weighted mean over predictions, a scalar.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onward.preferences import CHUNK_ROWS


def full_softmax(
    states: Tensor,
    table: Tensor,
    bias: Tensor,
    targets: Tensor,
    weights: Tensor,
    precision: torch.dtype = torch.float32,
    chunk_rows: int = CHUNK_ROWS,
) -> Tensor:
    """Cross-entropy over the whole catalog, without ever holding (N, V) logits.

    Args:
        states: (N, D). table: (V, D). bias: (V,). targets: (N,) int64 rows of the table. weights: (N,).
        precision: of the logits and their matrix products; sums over chunks and all gradients given back keep the
            precision of the arguments.
        chunk_rows: rows whose logits are held at once.
    """
    if states.shape[1] != table.shape[1]:
        raise ValueError(f"states are {states.shape[1]} wide and the item table is {table.shape[1]}")
    loss: Tensor = _ChunkedSoftmax.apply(states, table, bias, targets, weights, precision, chunk_rows)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    """The gradient is made in the forward pass, chunk by chunk, since it needs the same probabilities as the loss."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        weights: Tensor,
        precision: torch.dtype,
        chunk_rows: int,
    ) -> Tensor:
        precision = precision if states.dtype == torch.float32 else states.dtype
        scale = weights / weights.sum()
        low_states, low_table, low_bias = states.to(precision), table.to(precision), bias.to(precision)
        # a bias is one more column of the table whose state is 1: its gradient comes out of the same product
        low_weighted = torch.cat([states * scale[:, None], scale[:, None]], 1).to(precision).T.contiguous()
        at_target, grad_states = torch.empty_like(scale), torch.empty_like(states)
        grad_output = states.new_zeros(table.shape[1] + 1, len(table))
        buffers = low_states.new_empty(2, min(chunk_rows, len(states)), len(table))
        for first in range(0, len(states), chunk_rows):
            rows = slice(first, first + chunk_rows)
            state = low_states[rows]
            logits, probabilities = buffers[0, : len(state)], buffers[1, : len(state)]
            torch.addmm(low_bias, state, low_table.T, out=logits)
            torch.softmax(logits, 1, out=probabilities)
            at_target[rows] = probabilities.gather(1, targets[rows, None]).squeeze(1)
            grad_states[rows] = probabilities @ low_table
            grad_output += low_weighted[:, rows] @ probabilities
        loss = -(at_target.log() * scale).sum()
        # the gradient by the logits is the probabilities less one at the target; subtracted in the same rounding, so
        # that a target of probability one gives no gradient
        grad_states = (grad_states - low_table[targets]) * scale[:, None]
        grad_output.index_add_(1, targets, low_weighted.to(states.dtype), alpha=-1)
        grad_table, grad_bias = grad_output[:-1].T.contiguous(), grad_output[-1].contiguous()
        ctx.save_for_backward(grad_states, grad_table, grad_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_states, grad_table, grad_bias = ctx.saved_tensors
        return grad_states * grad_output, grad_table * grad_output, grad_bias * grad_output, None, None, None, None


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
    return _mean((predicted - wanted) ** 2, weights)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum()
