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

    The second moment is the mean over the row's numbers, averaged over the steps that touched the row, with the bias
    correction of Adam for those steps.
    """

    DECAY = 0.98

    def direction(self, rows: Tensor, gradient: Tensor, state: dict[str, Any], parameter: Tensor) -> Tensor:
        """The gradient over the root of the row's own second moment."""
        if not state:
            state["square"] = parameter.new_zeros(len(parameter))
            state["touched"] = parameter.new_zeros(len(parameter))
        square = state["square"][rows].lerp(_mean_square(gradient), 1 - self.DECAY)
        touched = state["touched"][rows] + 1
        state["square"][rows], state["touched"][rows] = square, touched
        scale = (square / (1 - self.DECAY**touched)).sqrt() + EPSILON
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
