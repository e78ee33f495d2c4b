"""The optimiser and its step size: AdamW or Adagrad, and a schedule that is a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from onward.config import TrainConfig
from onward.errors import ConfigError
from onward.models.sequence import SequenceModel
from onward.train.rows import RowAdagrad
from onward.train.update_rules import Adagrad, AdamW, UpdateRule

PLATEAU_FACTOR = 0.25
"""What `plateau` multiplies the step size by."""
DECAY_FROM = 0.75
"""Share of a training after which `wsd` decays, where nothing else is said."""


class Optimiser:
    """One optimiser for layers, and where item tables are updated row-wise one for those.

    Args:
        tables: None where the first updates all. Parameters are numbered through, the layers' first.
        table_factor: step size of the tables, in those of the layers.
    """

    def __init__(self, layers: UpdateRule, tables: RowAdagrad | None, table_factor: float) -> None:
        self.parts: list[UpdateRule] = [layers] if tables is None else [layers, tables]
        self.factors = (1.0, table_factor)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that it updates."""
        return [parameter for part in self.parts for parameter in part.parameters]

    @property
    def learning_rate(self) -> float:
        """Step size of the layers' next update."""
        return self.parts[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        for part, factor in zip(self.parts, self.factors, strict=False):
            part.learning_rate = value * factor

    @property
    def has_sums(self) -> bool:
        """Whether it updates something by Adagrad."""
        return any(isinstance(part, RowAdagrad | Adagrad) for part in self.parts)

    def start_from(self, sums: Mapping[str, Tensor], names: Mapping[str, nn.Parameter]) -> None:
        """Let Adagrad go on from its sums of squares of an earlier training, by the parameters' names.

        They are what decides the steps of a row for good. AdamW's moments are not gone on with: a hundred steps
        replace them, which warm-up covers.
        """
        by_parameter = {parameter: sums[name] for name, parameter in names.items() if name in sums}
        for part in self.parts:
            for parameter in part.parameters:
                if parameter in by_parameter and "sum" in part.state[parameter]:
                    part.remember(parameter, "sum", by_parameter[parameter].clone())

    def sums(self, names: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """Name of each parameter that Adagrad updates -> its sum of squares, a number a row for tables of items."""
        found = {}
        for name, parameter in names.items():
            for part in self.parts:
                if "sum" in part.state.get(parameter, {}):
                    found[name] = part.state[parameter]["sum"].detach().cpu()
        return found

    def update(self, clip_norm: float) -> Tensor:
        """One update along the parameters' gradients, scaled down to a global norm of `clip_norm`; what it was."""
        norm = clip_gradients(self.parameters, clip_norm)
        for part in self.parts:
            part.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Its tensors, named by parameter number and part."""
        states = [part.state[parameter] for part in self.parts for parameter in part.parameters]
        return {f"{number}.{name}": tensor for number, state in enumerate(states) for name, tensor in state.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        places = [(part, parameter) for part in self.parts for parameter in part.parameters]
        for key, tensor in tensors.items():
            number, _, name = key.partition(".")
            part, parameter = places[int(number)]
            part.remember(parameter, name, tensor)


def by_rows(model: SequenceModel, config: TrainConfig) -> bool:
    """Whether row-wise Adagrad updates the item tables.

    Raises:
        ConfigError: `train.item_optimiser = "same"` for tables of which a step's gradient reaches only some rows.
    """
    if config.item_optimiser == "same" and model.config.touches_rows:
        raise ConfigError(
            f"train.item_optimiser = 'same' updates every item, and model.loss = '{model.config.loss}' reaches a "
            "batch's items alone",
            "leave it out, or use --set model.loss=cross_entropy",
        )
    chosen = model.item_optimiser if config.item_optimiser == "auto" else config.item_optimiser
    return model.config.touches_rows or chosen == "adagrad"


def make_optimiser(model: SequenceModel, config: TrainConfig) -> Optimiser:
    """The configured optimiser of the layers, and row-wise Adagrad for item tables if asked or of the model.

    AdamW's weight decay acts on matrices of layers, never on item vectors, positions, biases or gains. Adagrad decays
    nothing.
    """
    tables = model.item_tables() if by_rows(model, config) else {}
    layers = [(name, parameter) for name, parameter in model.named_parameters() if name not in tables]
    rate = config.learning_rate
    rows = RowAdagrad(tables.values(), config.item_learning_rate) if tables else None
    if config.optimiser == "adagrad":
        adagrad = Adagrad((parameter for _, parameter in layers), rate)
        return Optimiser(adagrad, rows, config.item_learning_rate / rate)
    decayed = [parameter for name, parameter in layers if _decays(name, parameter)]
    plain = [parameter for name, parameter in layers if not _decays(name, parameter)]
    adam = AdamW([(decayed, config.weight_decay), (plain, 0.0)], rate)
    return Optimiser(adam, rows, config.item_learning_rate / rate)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() >= 2 and not name.startswith(("input.", "output.", "position"))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale gradients down to a global norm, in place; sparse ones are coalesced first and count by their values.

    Returns the norm from before, a scalar that is left where it was computed.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values())
        elif parameter.grad is not None:
            gradients.append(parameter.grad)
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def learning_rate(config: TrainConfig, step: int, total: int, plateaus: int = 0) -> float:
    """Step size at a step (from 0) of a training of `total` steps, after `plateaus` reductions.

    Linear warm-up, then constant, or a cosine or straight line to zero. `wsd` is constant, too, and falls as one less
    the root of the share that is done of the decay (Hägele et al., NeurIPS 2024, arXiv:2405.18392): so the length of
    a training needn't be known before its decay begins.
    """
    decays = decay_step(config, total) if config.schedule == "wsd" else total // 2
    warmup = min(config.warmup_steps, decays)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "wsd":
        return config.learning_rate * (1 - math.sqrt(min(1.0, max(0, step - decays) / max(1, total - decays))))
    if config.schedule == "plateau":
        return config.learning_rate * PLATEAU_FACTOR**plateaus
    done = (step - warmup) / max(1, total - warmup)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    if config.schedule == "linear":
        return config.learning_rate * max(0.0, 1 - done)
    return config.learning_rate


def decay_step(config: TrainConfig, total: int) -> int:
    """First step of the decay of `wsd`."""
    share = DECAY_FROM if config.decay_from is None else config.decay_from / config.epochs
    return min(total, round(total * share))
