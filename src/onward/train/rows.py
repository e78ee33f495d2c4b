"""The optimiser of item tables whose gradients are sparse: a step costs what its batch touches, not the catalog.

Shapes: V rows of a table, R rows that a step touches, D width. A one-dimensional parameter is a table of width 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

EPSILON = 1e-10


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad (Duchi et al., JMLR 2011) with one sum of squares a row, the mean over the row's numbers.

    Rare rows take longer steps than frequent ones, which suits items. At equal steps of sampled softmax it learned more
    than dense AdamW did (bench/README.md), and more than Adam without momentum and with one second moment a row; its
    state is one number a row where Adam's is 2 D.

    Args:
        parameters: their gradients are sparse and coalesced when `step` is called.
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
                rows, gradient = parameter.grad.indices()[0], parameter.grad.values()
                state = self.state[parameter]
                if not state:
                    state["sum"] = parameter.new_zeros(len(parameter))
                wide = gradient.view(len(rows), -1)  # (R, D)
                total = state["sum"][rows] + wide.square().mean(1)
                state["sum"][rows] = total
                change = wide / (total.sqrt() + EPSILON).unsqueeze(1)
                parameter.index_add_(0, rows, change.view_as(gradient), alpha=-group["lr"])
