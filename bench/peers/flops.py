"""FLOPs of SASRec's training, forward and backward, and what this machine's processor can do at most.

Of real positions only, whatever a library computes on padding besides; a multiplication and an addition are two. Per
event, with width D, V items and a history of t events so far:

    blocks x (12 D^2 + 4 D t)   projections 8 D^2, feed-forward (as wide as the model) 4 D^2, attention 4 D t
    + 2 D V                     scores of the whole catalog

times three: the backward pass multiplies each matrix twice more. Norms, activations, dropout, softmax, the optimiser
and the gathering of item vectors are not counted.
"""

from __future__ import annotations

import time

import numpy as np
import torch

PEAK_SIZE = 4096


def sasrec_flops(lengths: np.ndarray, n_items: int, width: int, blocks: int) -> float:
    """FLOPs of one training pass over windows of so many events each ((U,) targets of every user)."""
    lengths = lengths.astype(np.float64)
    events, pairs = lengths.sum(), (lengths * (lengths + 1) / 2).sum()
    forward = events * (blocks * 12 * width**2 + 2 * width * n_items) + pairs * blocks * 4 * width
    return 3 * float(forward)


def matrix_peak(size: int = PEAK_SIZE, repeats: int = 3) -> float:
    """FLOP/s of the best of some products of two float32 matrices."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    best = 0.0
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        torch.mm(a, b, out=out)
        best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


if __name__ == "__main__":
    print(matrix_peak())
