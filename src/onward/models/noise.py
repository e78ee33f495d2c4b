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
    before = getattr(_thread, "generator", None), getattr(_thread, "key", None)
    _thread.key = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    _thread.generator = torch.Generator().manual_seed(_thread.key)
    try:
        yield
    finally:
        _thread.generator, _thread.key = before


def generator() -> torch.Generator:
    """The generator that this thread draws from, on the processor."""
    own: torch.Generator | None = getattr(_thread, "generator", None)
    return torch.default_generator if own is None else own


def kept(items: Tensor, rate: float) -> Tensor:
    """(n,) bool: which of (n,) int64 items stay when a share `rate` of all is dropped.

    Within one `drawing` an item has one fate, whoever asks; outside of it each call draws anew. The fate is a hash of
    the item and the drawing's key (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014), so that its cost
    follows the items asked for and not the catalog.
    """
    key: int | None = getattr(_thread, "key", None)
    if key is None:
        key = int(torch.empty((), dtype=torch.int64).random_(generator=generator()))
    mixed = (items + 1) * _signed(0x9E3779B97F4A7C15) + _signed(key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ _shifted(mixed, shift)) * _signed(factor)
    mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 11) >= int(rate * 2**53)


def _signed(number: int) -> int:
    """The int64 with the same bits."""
    return number - 2**64 if number >= 2**63 else number


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Int64 numbers shifted right as if they had no sign."""
    return (numbers >> places) & ((1 << (64 - places)) - 1)


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
