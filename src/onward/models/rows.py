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

    Places come from numbers that the batch knows, so that a processor needn't wait for a GPU to tell them; and padding
    gathers, since PyTorch's ways of scattering add one by one, or sort on a GPU that is told to be reproducible.

    Args:
        more: steps that each row has beyond those of the batch.

    Attributes:
        batch: the batch, its columns flat over the real steps.
        lengths: (B,) int64 steps of each row.
        longest: L, steps of the longest row.
        full: whether there is no padding.
    """

    def __init__(self, batch: Batch, more: int = 0) -> None:
        self.batch, self.lengths = batch, batch.lengths + more if more else batch.lengths
        self.longest = batch.longest + more
        self._size = len(self.lengths) * self.longest
        self._n = self._size if len(self.lengths) == 1 else batch.n_steps + more * len(self.lengths)
        self.full = self._n == self._size

    @cached_property
    def real(self) -> Tensor:
        """(B, L) bool, false on padding."""
        return torch.arange(self.longest, device=self.lengths.device) < self.lengths[:, None]

    def padded(self, flat: Tensor) -> Tensor:
        """(N, ...) a value a step to (B, L, ...), zero on padding."""
        if not self.full:
            flat = _Pad.apply(flat, self._sources, self._gaps, self._slots)  # type: ignore[no-untyped-call]
        return flat.view(len(self.lengths), self.longest, *flat.shape[1:])

    def flat(self, padded: Tensor) -> Tensor:
        """(B, L, ...) to (N, ...), the real steps row by row."""
        flat = padded.flatten(0, 1)
        if not self.full:
            flat = _Pick.apply(flat, self._sources, self._gaps, self._slots)  # type: ignore[no-untyped-call]
        return flat

    @cached_property
    def _slots(self) -> Tensor:
        """(N,) int64: the place of each step among the B x L padded."""
        return torch.nonzero_static(self.real.flatten(), size=self._n).squeeze(1)

    @cached_property
    def _gaps(self) -> Tensor:
        """(B x L - N,) int64: places of padding."""
        return torch.nonzero_static(~self.real.flatten(), size=self._size - self._n).squeeze(1)

    @cached_property
    def _sources(self) -> Tensor:
        """(B x L,) int64: the step that stands at each place; on padding some step, the row's last."""
        ends_B1 = self.lengths.cumsum(0)[:, None]
        step_L = torch.arange(self.longest, device=ends_B1.device)
        return torch.minimum(ends_B1 - self.lengths[:, None] + step_L, ends_B1 - 1).flatten()


def _spread(flat: Tensor, sources: Tensor, gaps: Tensor) -> Tensor:
    return flat.index_select(0, sources).index_fill_(0, gaps, 0)


class _Pad(torch.autograd.Function):
    """Rows to their places among zeros; the gradient picks them again."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, sources: Tensor, gaps: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        return _spread(flat, sources, gaps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None, None


class _Pick(torch.autograd.Function):
    """Rows at distinct places; the gradient puts them back."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, sources: Tensor, gaps: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(sources, gaps)
        return padded.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _spread(grad, *ctx.saved_tensors), None, None, None
