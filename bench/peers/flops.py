"""FLOPs of training, and what this machine's processor can do at most.

Counted by `onward.models.cost`: matrix products only, two operations a multiplication with its addition, of real
positions only, whatever a library computes on padding besides. For SASRec with width D, V items, windows of t events
and feed-forward layers as wide as the model, that is 3 x (events x blocks x 12 D^2 + pairs x blocks x 4 D + events x
2 D V), where pairs are the sum of t (t + 1) / 2: the gradient takes two products for each one of the forward pass.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from onward.config import apply_settings
from onward.models.base import Items, build
from onward.models.cost import training_flops
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel

PEAK_SIZE = 4096


def flops_per_event(settings: list[str], lengths: np.ndarray, n_items: int) -> float:
    """FLOPs of training on one event, over windows of these lengths ((U,) events), of a model of Onward."""
    values = apply_settings({}, settings)["model"]
    count = np.ones(n_items + 1, dtype=np.int64)
    model = build(model_class(values.pop("name")), values, Items(count, count.astype(np.int32)))
    assert isinstance(model, SequenceModel)
    events = int(lengths.sum())
    return training_flops(model, lengths[lengths > 0], events) / events


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
