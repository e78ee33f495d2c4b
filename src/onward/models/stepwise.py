"""Models that read a history one step at a time, with a state of constant size.

Such a model can follow a user for ever: what it keeps is one row of numbers, and a click costs the same after ten
events as after a million. Such a state has read the whole history, where `score` reads the newest `max_length` steps.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Stepwise(Protocol):
    """What such a model offers beside a sequence model's methods. B rows, S size of a state, D width."""

    def start_state(self, rows: int) -> Tensor:
        """(B, S) float32 state of as many histories in which nothing happened."""

    def advance(self, state_BS: Tensor, vectors_BD: Tensor) -> tuple[Tensor, Tensor]:
        """One more step of each history: the (B, S) next state, and the (B, D) state to answer from.

        `vectors_BD`: the input vectors of the steps. In evaluation mode, as `encode` would be.
        """
