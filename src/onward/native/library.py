"""The compiled library, and how its functions are called."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.native.build import library_for

_KINDS = {"n": ctypes.c_ssize_t, "p": ctypes.c_void_p}
"""A number, a pointer."""
_FUNCTIONS = {
    "softmax_loss": (ctypes.c_bool, "pnppnnppnpppppppp"),
    "tile_columns": (ctypes.c_ssize_t, ""),
    "transformer_states": (ctypes.c_int, "ppnpnpnnp"),
    "transformer_best": (ctypes.c_int, "pppnnnpp"),
}
"""Name -> what it returns, and what it is given."""


def is_built() -> bool:
    """Whether it was compiled for the vector instructions that PyTorch uses here, and can be loaded."""
    return _library() is not None


def library() -> ctypes.CDLL:
    """The library, where `is_built`."""
    found = _library()
    assert found is not None
    return found


@cache
def _library() -> ctypes.CDLL | None:
    return load(library_for(torch.backends.cpu.get_cpu_capability()))


def load(file: Path) -> ctypes.CDLL | None:
    """What was compiled to a file; None where there is nothing, or it was compiled where the system is newer."""
    try:
        found = ctypes.CDLL(str(file))
    except OSError:
        return None
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, [_KINDS[kind] for kind in arguments]
    return found


def at(numbers: Tensor | NDArray[Any] | None) -> int | None:
    """Where the numbers of a contiguous tensor or array on the processor begin; None, a null pointer, for None."""
    if numbers is None:
        return None
    return numbers.data_ptr() if isinstance(numbers, Tensor) else numbers.__array_interface__["data"][0]
