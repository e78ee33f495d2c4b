"""Where models run: the first GPU that PyTorch sees, else the processor; `ONWARD_DEVICE` decides otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from onward.errors import ConfigError

VARIABLE = "ONWARD_DEVICE"
CHOICES = ("cpu", "cuda")


def compute_device() -> torch.device:
    """Where to train, to evaluate and to recommend.

    Raises ConfigError for a value of `ONWARD_DEVICE` that is unknown, or a GPU that isn't there.
    """
    wanted = os.environ.get(VARIABLE) or ("cuda" if torch.cuda.is_available() else "cpu")
    if wanted not in CHOICES:
        raise ConfigError(f"{VARIABLE} = '{wanted}' is no device", f"choose one of {', '.join(CHOICES)}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"{VARIABLE} = cuda, but PyTorch {torch.__version__} sees no GPU",
            "install a CUDA build of PyTorch and a driver, or leave the variable unset; see `onward doctor`",
        )
    return torch.device(wanted)


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Inside, a GPU adds numbers in the same order every time, so that one seed gives one result.

    PyTorch's switches hold for the whole process; they are as before at the end. One of them would fill every new
    tensor, so that reading what was never written gives the same, too: nothing here does, and it takes an eighth of a
    training step.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    switches = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), switches.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    switches.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        switches.fill_uninitialized_memory = before[1]  # type: ignore[attr-defined]
