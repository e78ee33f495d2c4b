"""The optimiser of item tables. With sparse gradients a step costs what its batch touches, not the catalog.

Shapes: V rows of a table, R rows that a step touches, D width. A one-dimensional parameter is a table of width 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

EPSILON = 1e-10


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad (Duchi et al., JMLR 2011) with one sum of squares a row, the mean over the row's numbers.

    Rare rows take longer steps than frequent ones, which suits items: in as many steps it learned far more than AdamW
    did, and than Adam without momentum and with one second moment a row (bench/README.md). Its state is one number a
    row where Adam's is 2 D.

    Args:
        parameters: their gradients are dense, or sparse and coalesced, when `step` is called.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of the rows that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["sum"] = parameter.new_zeros(len(parameter))
                if parameter.grad.is_sparse:
                    rows, gradient = parameter.grad.indices()[0], parameter.grad.values()
                    total = state["sum"][rows].add_(_mean_square(gradient))
                    state["sum"][rows] = total
                    parameter.index_add_(0, rows, gradient / _beside(total, gradient), alpha=-group["lr"])
                else:
                    total = state["sum"].add_(_mean_square(parameter.grad))
                    parameter.addcdiv_(parameter.grad, _beside(total, parameter.grad), value=-group["lr"])


def _mean_square(gradient: Tensor) -> Tensor:
    """(R,) of (R, D) or (R,)."""
    return gradient.square().view(len(gradient), -1).mean(1)


def _beside(total: Tensor, gradient: Tensor) -> Tensor:
    """The root of (R,) sums, to divide (R, D) or (R,) by."""
    return (total.sqrt() + EPSILON).view(-1, *(1 for _ in gradient.shape[1:]))
