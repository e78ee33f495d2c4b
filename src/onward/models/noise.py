"""Randomness inside models.

Parts of one batch train in threads of their own, and threads that share one generator would draw in whatever order
they happen to run. So each thread draws from the generator that the training loop gives it, seeded by (seed, step,
part); outside of training that is PyTorch's own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_thread = threading.local()
LEVELS = 256
"""Dropout rates are multiples of 1 / 256 on a processor: one random byte decides an activation."""


@contextmanager
def drawing(*seed: int) -> Iterator[None]:
    """Inside, this thread draws from a generator that is a pure function of `seed`."""
    before = getattr(_thread, "generator", None)
    _thread.generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        _thread.generator = before


def generator() -> torch.Generator:
    """The generator that this thread draws from, on the processor."""
    own: torch.Generator | None = getattr(_thread, "generator", None)
    return torch.default_generator if own is None else own


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero a share `rate` of the activations and scale up the others (Srivastava et al., JMLR 2014).

    On a processor, PyTorch draws each activation's fate with a serial generator at 7 ns, a seventh of a training
    step; random bytes from 64-bit words take a tenth of that.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    dropped = min(round(rate * LEVELS), LEVELS - 1)
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None, generator=generator())
    keep = x.new_empty(x.numel())
    torch.ge(words.view(torch.uint8)[: x.numel()], dropped, out=keep)
    return x * keep.mul_(LEVELS / (LEVELS - dropped)).view(x.shape)
