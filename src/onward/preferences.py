"""What this machine trains fastest with: measured once by `onward doctor`, and remembered.

These settings decide how fast a training runs. Of what it learns they change the rounding.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError

from onward.data.datasets import cache_folder
from onward.errors import OutputError
from onward.files import atomic_file
from onward.machine import cpu_info, usable_cores
from onward.native.library import is_built
from onward.payload import Payload

CHUNK_ROWS = 256
"""Rows of logits over the catalog that a processor's cache holds, where nothing was measured."""


class Preferences(Payload):
    """How this machine trains fastest."""

    format: Literal["onward.preferences/1"] = "onward.preferences/1"
    """Format and version of the file."""
    machine: str
    """Processor, usable cores and PyTorch that this holds for, and whether the softmax is compiled."""
    measured: bool = False
    """Whether it was measured, or only guessed from what the processor says that it has."""
    threads: int = Field(ge=1)
    """Threads to train with."""
    softmax: Literal["float32", "bfloat16"]
    """Precision of the matrix products of the whole-catalog softmax on the processor."""
    chunk_rows: int = Field(ge=1)
    """Rows whose logits over the whole catalog are held at once."""
    busy: bool = False
    """Whether the machine did something else as well, so that the measurement means little."""
    events_per_second: dict[str, float] = {}
    """What was measured: softmax rows a second by setting."""


def machine_key() -> str:
    """What has to be the same for a measurement to hold."""
    compiled = ", compiled softmax" if is_built() else ""
    return f"{cpu_info(Path('/proc/cpuinfo'))['model']}, {usable_cores()} cores, torch {torch.__version__}{compiled}"


def preferences_file() -> Path:
    """Where the measurement is kept: in the user's cache directory."""
    return cache_folder("any").parent.parent / "preferences.json"


def preferences() -> Preferences:
    """What was measured on this machine, or else a guess from what its processor says that it has."""
    try:
        found = Preferences.model_validate_json(preferences_file().read_bytes())
    except (OSError, ValidationError):
        found = None
    if found is not None and found.machine == machine_key():
        return found
    softmax: Literal["float32", "bfloat16"] = "bfloat16" if cpu_info(Path("/proc/cpuinfo"))["bf16"] else "float32"
    return Preferences(machine=machine_key(), threads=usable_cores(), softmax=softmax, chunk_rows=CHUNK_ROWS)


def prefers_bfloat16(device: torch.device) -> bool:
    """Whether the whole-catalog softmax is faster in bfloat16: on the processor as measured, on a GPU that has it."""
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else preferences().softmax == "bfloat16"


def remember(found: Preferences) -> None:
    """Keep a measurement. A cache that can't be written costs a new measurement next time, and no more."""
    try:
        preferences_file().parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(preferences_file(), overwrite=True) as new:
            new.write_text(found.model_dump_json(indent=2), encoding="utf-8")
    except (OSError, OutputError):
        return


def apply_threads(found: Preferences) -> None:
    """Train with as many threads as measured, unless the user decided with OMP_NUM_THREADS."""
    if found.measured and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(found.threads)
