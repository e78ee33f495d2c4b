"""A training that breaks off, for tests of how it is gone on with."""

from __future__ import annotations

from onward.train.display import Display


class Breaking(Display):
    """Fails at one look at the loss."""

    def __init__(self, at: int) -> None:
        super().__init__("", shown=False)
        self.at = at

    def step(self, step: int, loss: float, speed: float) -> None:
        super().step(step, loss, speed)
        if step == self.at:
            raise RuntimeError("broken off")
