"""Update rules: what one step makes of parameters and their gradients, by PyTorch's own kernels.

`torch.optim.Optimizer` isn't among them: the first one in a process imports all of torch.compile, seconds of a
processor before every training. The functions behind its subclasses don't, and give the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad
from torch.optim.adamw import adamw


class UpdateRule(ABC):
    """Some parameters, the step size of their next update, and what is remembered of earlier ones.

    Attributes:
        state: what the rule remembers of each parameter, by name.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.state = {parameter: self.start(parameter) for parameter in self.parameters}

    def step(self) -> None:
        """One update of the parameters that have a gradient."""
        with torch.no_grad():
            self.change([parameter for parameter in self.parameters if parameter.grad is not None])

    def remember(self, parameter: nn.Parameter, name: str, tensor: Tensor) -> None:
        """Take over something that was remembered of a parameter."""
        self.state[parameter][name] = tensor.to(self.state[parameter][name])

    @abstractmethod
    def start(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """What is remembered of a parameter before its first update."""

    @abstractmethod
    def change(self, parameters: Sequence[nn.Parameter]) -> None:
        """Update parameters that have a gradient, in place."""

    def _gradients(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    def _remembered(self, parameters: Sequence[nn.Parameter], name: str) -> list[Tensor]:
        return [self.state[parameter][name] for parameter in parameters]


class AdamW(UpdateRule):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), in one kernel for all parameters.

    Args:
        groups: parameters, and the weight decay of these; dense gradients.
    """

    BETAS, EPSILON = (0.9, 0.98), 1e-8

    def __init__(self, groups: Sequence[tuple[Sequence[nn.Parameter], float]], learning_rate: float) -> None:
        super().__init__((parameter for parameters, _ in groups for parameter in parameters), learning_rate)
        self._decays = {parameter: decay for parameters, decay in groups for parameter in parameters}

    def start(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Steps taken, and the moments."""
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    def change(self, parameters: Sequence[nn.Parameter]) -> None:
        """As in `UpdateRule`."""
        for decay in dict.fromkeys(self._decays.values()):
            some = [parameter for parameter in parameters if self._decays[parameter] == decay]
            adamw(
                list[Tensor](some),
                self._gradients(some),
                self._remembered(some, "exp_avg"),
                self._remembered(some, "exp_avg_sq"),
                [],
                self._remembered(some, "step"),
                fused=True,
                amsgrad=False,
                beta1=self.BETAS[0],
                beta2=self.BETAS[1],
                lr=self.learning_rate,
                weight_decay=decay,
                eps=self.EPSILON,
                maximize=False,
            )


class Adagrad(UpdateRule):
    """Adagrad (Duchi et al., JMLR 2011), without decay; dense gradients."""

    EPSILON = 1e-10

    def start(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Steps taken, and the sums of squares."""
        return {"step": torch.zeros(()), "sum": torch.zeros_like(parameter)}

    def change(self, parameters: Sequence[nn.Parameter]) -> None:
        """As in `UpdateRule`."""
        adagrad(
            list[Tensor](parameters),
            self._gradients(parameters),
            self._remembered(parameters, "sum"),
            self._remembered(parameters, "step"),
            lr=self.learning_rate,
            weight_decay=0.0,
            lr_decay=0.0,
            eps=self.EPSILON,
            maximize=False,
        )
