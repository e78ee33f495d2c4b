"""Checkpoints: everything a training needs to go on as if it had never stopped, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from onward.config import TrainConfig
from onward.errors import FormatError
from onward.files import atomic_file
from onward.models.sequence import SequenceModel
from onward.train.optim import Optimiser, make_optimiser

FORMAT = "onward.checkpoint/1"


@dataclass
class Progress:
    """Where a training stands. Everything but `seconds` is a pure function of config, data and seed."""

    step: int = 0
    """Updates done."""
    epoch: int = 0
    """Epoch that the next batch belongs to."""
    batch: int = 0
    """Batches of that epoch done."""
    best: float | None = None
    """Best value of the monitored metric."""
    best_metrics: dict[str, float] = field(default_factory=dict)
    """All metrics of the validation that gave it."""
    best_epoch: float = 0.0
    """Epochs done at the best value."""
    waited: int = 0
    """Validations since the best."""
    plateaus: int = 0
    """Times that `plateau` has reduced the step size."""
    seconds: float = 0.0
    """Time spent training, over all sessions."""
    finished: bool = False
    """Whether the training has come to its end."""
    decided: dict[str, float] = field(default_factory=dict)
    """`epochs` and `decay_from`, where a watch decided them on the way."""


def save_checkpoint(path: Path, model: nn.Module, optimiser: Optimiser, progress: Progress) -> None:
    """Write a checkpoint beside its target and rename it into place: a half-written one is never found."""
    tensors: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"optimiser.{name}": tensor for name, tensor in optimiser.state().items()}
    tensors["generator"] = torch.get_rng_state()
    if torch.cuda.is_available():  # dropout on a GPU draws from the GPU's own generator
        tensors["generator.cuda"] = torch.cuda.get_rng_state()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path, overwrite=True) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, "progress": json.dumps(asdict(progress))})


def load_checkpoint(path: Path, model: nn.Module, optimiser: Optimiser | None = None) -> Progress:
    """Restore the model, and with an optimiser also its state and the generator's.

    Raises:
        FormatError: the file is missing, damaged, or of another model.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path} can't be read as a checkpoint: {error}") from None
    if metadata.get("format") != FORMAT:
        raise FormatError(f"{path} has format {metadata.get('format')!r}, and this version of onward reads {FORMAT!r}")
    try:
        model.load_state_dict(_under(tensors, "model."))
    except RuntimeError:
        raise FormatError(f"{path} is a checkpoint of another model", "train into another folder") from None
    if optimiser is not None:
        optimiser.load_state(_under(tensors, "optimiser."))
        torch.set_rng_state(tensors["generator"])
        if "generator.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["generator.cuda"])
    return Progress(**json.loads(metadata["progress"]))


def adagrad_sums(path: Path, model: SequenceModel, config: TrainConfig) -> dict[str, Tensor]:
    """What `Optimiser.sums` was at a checkpoint of this model; empty where nothing is updated by Adagrad."""
    optimiser = make_optimiser(model, config)
    if not optimiser.has_sums:
        return {}
    with torch.random.fork_rng():  # which a checkpoint restores too
        load_checkpoint(path, model, optimiser)
    return optimiser.sums(dict(model.named_parameters()))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
