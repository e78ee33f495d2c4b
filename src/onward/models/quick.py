"""What answers few histories sooner than a model's layers do: compiled code, or ONNX Runtime."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.base import Bools, Lists

Floats = NDArray[np.float32]


class Quick(Protocol):
    """In place of a sequence model's layers, until its weights change."""

    def states(self, histories: Histories) -> NDArray[np.float32]:
        """(B, D) float32 state after each history's newest step; histories of one item or more."""
        ...

    def best(self, history: Histories, k: int, allowed: Bools, seen: Literal["exclude", "include"]) -> Lists | None:
        """The list of one history that the model knows; None where `Recommender.recommend` must look closer.

        Args:
            allowed: (V + 1,) bool, the items that may be recommended.
            seen: whether items of the history may come again.
        """
        ...


def allowing(biases: Floats, allowed: Bools) -> Floats:
    """(V + 1,) float32 biases, -inf for what is not to be recommended."""
    found = np.where(allowed, biases, np.float32(-np.inf))
    found[0] = -np.inf
    return found


def as_array(tensor: Tensor) -> Floats:
    """The same numbers, without gradients."""
    array: Floats = tensor.detach().cpu().numpy()
    return array
