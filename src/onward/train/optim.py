"""The optimiser and its step size: AdamW, and a schedule that is a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from onward.config import TrainConfig

PLATEAU_FACTOR = 0.25
"""What `plateau` multiplies the step size by."""


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, ICLR 2019). Weight decay acts on matrices of layers, never on item vectors,
    positions, biases or gains."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.dim() >= 2 and not name.startswith(("input.", "output.", "position"))
        (decayed if is_matrix else plain).append(parameter)
    groups = [(decayed, config.weight_decay), (plain, 0.0)]
    used = [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]
    return torch.optim.AdamW(used, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def learning_rate(config: TrainConfig, step: int, total: int, plateaus: int = 0) -> float:
    """Step size at a step (from 0) of a training of `total` steps, after `plateaus` reductions.

    Linear warm-up, then constant, or a cosine or straight line to zero.
    """
    warmup = min(config.warmup_steps, total // 2)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "plateau":
        return config.learning_rate * PLATEAU_FACTOR**plateaus
    done = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    if config.schedule == "linear":
        return config.learning_rate * max(0.0, 1 - done)
    return config.learning_rate
