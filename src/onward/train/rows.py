"""Optimisers of item tables whose gradients are sparse: a step costs what its batch touches, not the catalog.

Shapes: V rows of a table, R rows that a step touches, D width. A one-dimensional parameter is a table of width 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-8


class RowOptimiser(torch.optim.Optimizer):
    """Updates the rows that have a gradient; gradients are sparse and coalesced."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter with a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    rows, gradient = parameter.grad.indices()[0], parameter.grad.values()
                    direction = self.direction(rows, gradient, self.state[parameter], parameter)
                    parameter.index_add_(0, rows, direction, alpha=-group["lr"])

    def direction(self, rows: Tensor, gradient: Tensor, state: dict[str, Any], parameter: Tensor) -> Tensor:
        """What to subtract from the (R,) rows with this (R, D) gradient; their `state` moves on."""
        raise NotImplementedError


class RowAdam(RowOptimiser):
    """Adam without momentum, and with one second moment a row: two numbers of state where Adam has 2 D.

    The second moment is Adam's, averaged over the row: a mean over all steps, those that didn't touch the row included,
    so that a rare row takes longer steps, as it does in Adam, where one gradient goes on acting through the momentum.
    (A mean over the touching steps alone, and also Adam that merely skips the others, learn more slowly.)
    """

    DECAY = 0.98

    def direction(self, rows: Tensor, gradient: Tensor, state: dict[str, Any], parameter: Tensor) -> Tensor:
        """The gradient over the root of the row's second moment."""
        if not state:
            state["step"] = torch.zeros((), dtype=torch.int32)
            state["square"] = parameter.new_zeros(len(parameter))
            state["touched"] = parameter.new_zeros(len(parameter))  # a step; floats, as PyTorch restores state so
        state["step"] += 1
        step = int(state["step"])
        waited = step - state["touched"][rows]
        square = state["square"][rows] * self.DECAY**waited + (1 - self.DECAY) * _mean_square(gradient)
        state["square"][rows], state["touched"][rows] = square, step
        scale = (square / (1 - self.DECAY**step)).sqrt() + EPSILON
        return gradient / _beside(scale, gradient)


class RowAdagrad(RowOptimiser):
    """Adagrad (Duchi et al., JMLR 2011) of the rows that have a gradient."""

    def direction(self, rows: Tensor, gradient: Tensor, state: dict[str, Any], parameter: Tensor) -> Tensor:
        """The gradient over the root of the sum of all its squares so far."""
        if not state:
            state["sum"] = torch.zeros_like(parameter)
        total = state["sum"][rows].addcmul_(gradient, gradient)
        state["sum"][rows] = total
        direction: Tensor = gradient / (total.sqrt() + EPSILON)
        return direction


def _mean_square(gradient: Tensor) -> Tensor:
    return gradient.square().flatten(1).mean(1) if gradient.dim() > 1 else gradient.square()


def _beside(scale: Tensor, gradient: Tensor) -> Tensor:
    return scale.unsqueeze(1) if gradient.dim() > 1 else scale
