"""The optimiser of item tables. With sparse gradients a step costs what its batch touches, not the catalog.

Shapes: V rows of a table, R rows that a step touches, D width. A one-dimensional parameter is a table of width 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from onward.train.update_rules import UpdateRule

EPSILON = 1e-10


class RowAdagrad(UpdateRule):
    """Adagrad (Duchi et al., JMLR 2011) with one sum of squares a row, the mean over the row's numbers.

    Rare rows take longer steps than frequent ones, which suits items: in as many steps it learned far more than AdamW
    did, and than Adam without momentum and with one second moment a row (bench/README.md). Its state is one number a
    row where Adam's is 2 D.

    Args:
        parameters: their gradients are dense, or sparse and coalesced, when `step` is called.
    """

    def start(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """(V,) sums of squares."""
        return {"sum": parameter.new_zeros(len(parameter))}

    def change(self, parameters: Sequence[nn.Parameter]) -> None:
        """Update the rows that have a gradient."""
        for parameter, gradient in zip(parameters, self._gradients(parameters), strict=True):
            sums = self.state[parameter]["sum"]
            if gradient.is_sparse:
                rows, values = gradient.indices()[0], gradient.values()
                total = sums[rows].add_(_mean_square(values))
                sums[rows] = total
                parameter.index_add_(0, rows, values / _beside(total, values), alpha=-self.learning_rate)
            else:
                total = sums.add_(_mean_square(gradient))
                parameter.addcdiv_(gradient, _beside(total, gradient), value=-self.learning_rate)


def _mean_square(gradient: Tensor) -> Tensor:
    """(R,) of (R, D) or (R,)."""
    return gradient.square().view(len(gradient), -1).mean(1)


def _beside(total: Tensor, gradient: Tensor) -> Tensor:
    """The root of (R,) sums, to divide (R, D) or (R,) by."""
    return (total.sqrt() + EPSILON).view(-1, *(1 for _ in gradient.shape[1:]))
