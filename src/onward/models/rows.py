"""Rows of steps: flat where batches hold them, padded where layers read them.

Legend: B rows, L longest row, N real steps.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from onward.data.batch import Batch


class Rows:
    """Where the steps of a batch stand when each row is padded on the right to the longest.

    Attributes:
        batch: the batch, its columns flat over the real steps.
        lengths: (B,) int64 steps of each row.
        longest: L, steps of the longest row.
        full: whether there is no padding.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch, self.lengths = batch, batch.lengths
        self.longest = int(self.lengths if len(self.lengths) == 1 else self.lengths.max())
        self.full = len(self.lengths) == 1 or int(self.lengths.sum()) == len(self.lengths) * self.longest
        self._slots = None if self.full else self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def real(self) -> Tensor:
        """(B, L) bool, false on padding."""
        return torch.arange(self.longest, device=self.lengths.device) < self.lengths[:, None]

    def padded(self, flat: Tensor) -> Tensor:
        """(N, ...) a value a step to (B, L, ...), zero on padding."""
        if self._slots is not None:
            size = len(self.lengths) * self.longest
            flat = _Pad.apply(flat, self._slots, size)  # type: ignore[no-untyped-call]
        return flat.view(len(self.lengths), self.longest, *flat.shape[1:])

    def flat(self, padded: Tensor) -> Tensor:
        """(B, L, ...) to (N, ...), the real steps row by row."""
        flat = padded.flatten(0, 1)
        if self._slots is not None:
            flat = _Pick.apply(flat, self._slots)  # type: ignore[no-untyped-call]
        return flat


class _Pad(torch.autograd.Function):
    """Rows to their places among zeros. The gradient picks them again; PyTorch's own ways add one by one."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return flat.new_zeros(size, *flat.shape[1:]).index_copy_(0, places, flat)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None


class _Pick(torch.autograd.Function):
    """Rows at distinct places; the gradient puts them back."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(padded)
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, *grad.shape[1:]).index_copy_(0, places, grad), None
