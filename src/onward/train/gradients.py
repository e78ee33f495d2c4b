"""The gradient of one batch, made by a team of threads: each builds and differentiates its own part."""

from __future__ import annotations

import torch
from torch import Tensor

from onward.config import TrainConfig
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Ints
from onward.models import noise
from onward.models.sequence import SequenceModel
from onward.threads import Team

PART_TOKENS = 256
"""Steps that keep a thread busy long enough to be worth a part of their own."""

Gradient = tuple[Tensor | None, ...]
"""One a parameter; None where the loss doesn't depend on it."""


def parts_of(model: SequenceModel, config: TrainConfig) -> int:
    """Parts worth cutting a batch into; a GPU takes batches whole, and so does a loss that contrasts its rows."""
    whole = model.output_bias.device.type != "cpu" or model.config.contrastive > 0
    return 1 if whole else max(1, config.batch_tokens // PART_TOKENS)


class Gradients:
    """Sets the gradients of a model's parameters, batch by batch.

    The same seed, step and number of parts give the same bits: each part draws from a generator of its own, and
    parts are added in order.
    """

    def __init__(self, model: SequenceModel, batches: TrainingBatches, seed: int, threads: Team) -> None:
        self.model, self.batches, self.seed, self.threads = model, batches, seed, threads
        self.parameters = list(model.parameters())

    def of(self, windows: Ints, step: int) -> tuple[Tensor, int]:
        """Loss (a scalar, detached) and number of targets of a batch, whose gradients are left in the parameters."""
        parts = list(enumerate(self.batches.parts(windows, self.threads.size)))
        done = self.threads.map(lambda part: self._part(part[1], step, part[0]), parts)
        total = sum(weight for _, weight, _, _ in done)
        shares = [weight / total for _, weight, _, _ in done]
        for parameter, *gradients in zip(self.parameters, *(gradient for *_, gradient in done), strict=True):
            parameter.grad = _mean(gradients, shares)
        loss = torch.stack([loss * share for (loss, *_), share in zip(done, shares, strict=True)]).sum()
        return loss, sum(targets for _, _, targets, _ in done)

    def _part(self, windows: Ints, step: int, number: int) -> tuple[Tensor, float, int, Gradient]:
        batch = self.batches.batch(windows, (step, number))
        weight, targets = float(batch.target_weights.sum()), len(batch.targets)
        with noise.drawing(self.seed, step, number), torch.enable_grad():
            loss = self.model.loss(batch.to(self.model.output_bias.device))
        return loss.detach(), weight, targets, torch.autograd.grad(loss, self.parameters, allow_unused=True)


def _mean(gradients: list[Tensor | None], shares: list[float]) -> Tensor | None:
    """Weighted sum, in order; where there is one part, that one."""
    if len(gradients) == 1:
        return gradients[0]
    total: Tensor | None = None
    for gradient, share in zip(gradients, shares, strict=True):
        if gradient is not None:
            total = gradient * share if total is None else total.add_(gradient, alpha=share)
    return total
