"""States of histories that were asked for before: a page with several lists, or visited again, is encoded once.

The key is all that the encoder reads, so that what is remembered can't be out of date: after the next event the history
is another one.

Legend: B requests, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from onward.data.sequences import Histories

OVERHEAD = 300
"""Bytes of an entry beside the state and the items."""


class RememberedStates:
    """States by the newest items of a history; of a model that reads nothing else.

    Two dictionaries take turns: when the young one is full it becomes the old one, and what is asked for again moves to
    the young. Each access is one operation of a dictionary, so threads need no lock.

    Args:
        encode: (histories) -> (B, D) float32 states.
        max_length: events that the encoder reads, the newest.
        width: D.
        memory: bytes for states and their keys, about.
    """

    def __init__(self, encode: Callable[[Histories], Tensor], max_length: int, width: int, memory: float) -> None:
        self._encode, self._max_length = encode, max_length
        self._size = max(1, int(memory / 2 / (4 * width + 4 * max_length + OVERHEAD)))
        self._young: dict[bytes, Tensor] = {}
        self._old: dict[bytes, Tensor] = {}

    def states(self, histories: Histories) -> Tensor:
        """(B, D) states; only histories that were not asked for lately are encoded."""
        keys = [self._key(histories, row) for row in range(len(histories))]
        found = [self._find(key) for key in keys]
        missing = [row for row, state in enumerate(found) if state is None]
        if not missing:
            return torch.stack([state for state in found if state is not None])
        encoded = self._encode(histories if len(missing) == len(keys) else histories.select(np.array(missing)))
        for row, state in zip(missing, encoded, strict=True):
            found[row] = self._keep(keys[row], state.clone())  # a view would hold the whole batch in memory
        return encoded if len(missing) == len(keys) else torch.stack([state for state in found if state is not None])

    def _key(self, histories: Histories, row: int) -> bytes:
        end = histories.end[row]
        start = max(histories.start[row], end - self._max_length)
        return histories.item[start:end].tobytes()

    def _find(self, key: bytes) -> Tensor | None:
        state = self._young.get(key)
        if state is None:
            state = self._old.get(key)
            if state is not None:
                self._keep(key, state)
        return state

    def _keep(self, key: bytes, state: Tensor) -> Tensor:
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = state
        return state
