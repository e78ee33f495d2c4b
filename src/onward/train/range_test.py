"""A learning rate range test: the step size grows step by step, and the loss says up to where that helps.

Smith (WACV 2017, arXiv:1506.01186), with a geometric increase over one short training that is thrown away. The loss
falls faster and faster, comes to its lowest and then grows; a good step size lies well below that one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from onward.config import RunConfig
from onward.data.dataset import Dataset
from onward.device import reproducible
from onward.errors import ConfigError
from onward.models.sequence import SequenceModel
from onward.threads import team
from onward.train.gradients import Gradients, parts_of
from onward.train.loop import make_batches
from onward.train.make import make_model, place
from onward.train.optim import make_optimiser

LOWEST, HIGHEST, STEPS = 1e-4, 0.5, 60
"""Step sizes from the first step to the last."""
WARM = 5
"""Steps after which the time of a step is measured."""
SMOOTHING = 0.8
"""Of the running mean of the loss, corrected for its start as Adam's moments are."""
GROWN = 1.3
"""The test ends where the smoothed loss is this many times its lowest."""
BELOW_LOWEST = 10.0
"""The step size that is suggested is that of the lowest loss, divided by this."""


@dataclass(frozen=True)
class RangeTest:
    """What the test saw.

    Attributes:
        rates: step size of each step.
        losses: smoothed loss before it.
        epoch_seconds: what an epoch takes at the speed of these steps.
        whole: whether it went to its end.
    """

    rates: list[float]
    losses: list[float]
    epoch_seconds: float
    whole: bool = True

    @property
    def suggestion(self) -> float | None:
        """Step size to begin with; None where the test was not whole."""
        lowest = min(range(len(self.losses)), key=self.losses.__getitem__)
        return self.rates[lowest] / BELOW_LOWEST if self.whole else None


def range_test(data: Dataset, config: RunConfig, seconds: float = math.inf) -> RangeTest:
    """Try the step sizes on a model that is thrown away; a pure function of configuration and data but for its time.

    Args:
        config: resolved, of a model that is trained by the loop.
        seconds: it ends early where all of its steps would take longer than that, without a suggestion.

    Raises:
        ConfigError: the model is fitted in one call, or there is nothing to learn from.
    """
    made = make_model(data, config)
    model = made.model
    if not isinstance(model, SequenceModel):
        raise ConfigError(f"'{model.name}' is fitted in one call and has no step size")
    device = place(model)
    rates, losses = list[float](), list[float]()
    mean, whole = 0.0, True
    with torch.random.fork_rng(), reproducible(device), team(parts_of(model, config.train)) as threads:
        torch.manual_seed(config.seed)
        batches = make_batches(
            model, made.training, config.train, config.seed, made.divided.config.request_time or "none"
        )
        optimiser = make_optimiser(model, config.train)
        gradients = Gradients(model, batches, config.seed, threads)
        model.train()
        began = time.perf_counter()
        windows = [one for epoch in range(-(-STEPS // len(batches))) for one in batches.epoch(epoch)][:STEPS]
        for step, some in enumerate(windows):
            if step == WARM:
                began = time.perf_counter()
            optimiser.learning_rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            loss = float(gradients.of(some, step)[0])
            optimiser.update(config.train.clip_norm)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            rates.append(optimiser.learning_rate)
            losses.append(mean / (1 - SMOOTHING ** (step + 1)))
            if not losses[-1] < GROWN * min(losses):  # NaN too
                break
            if step > WARM and (time.perf_counter() - began) / (step + 1 - WARM) * STEPS > seconds:
                whole = False
                break
        step_seconds = (time.perf_counter() - began) / max(1, len(losses) - WARM)
    return RangeTest(rates, losses, step_seconds * len(batches), whole)
