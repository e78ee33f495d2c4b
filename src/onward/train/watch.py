"""Somebody beside the training loop who sees how it goes, and may end it: a search with a budget."""

from __future__ import annotations

from typing import Protocol


class Ended(Exception):  # noqa: N818 - it is news, not a fault
    """What a watch raises to end a training without a result."""


class Watch(Protocol):
    """Told of every update and every validation. An exception that it raises ends the training without a result."""

    @property
    def ended(self) -> bool:
        """Whether it was `stepped` that ended the training."""

    def stepped(self, step: int, per_epoch: int) -> bool:
        """After update number `step`, `per_epoch` of which are an epoch; True ends the training with its best weights.

        It may only say so after a validation, which is when there are weights to keep. Such a training can go on.
        """

    def last_epoch(self, step: int, per_epoch: int) -> int | None:
        """Epochs after which the training is to end, its step size falling from now on (`train.schedule = "wsd"`);
        None lets it run on. Asked after every update until it answers.
        """

    def validated(self, epochs: float, value: float) -> None:
        """After a validation: epochs done, and the value of the monitored metric."""


class AtOnce:
    """Ends a training that has validated, with the weights that it has."""

    ended = True

    def stepped(self, step: int, per_epoch: int) -> bool:
        """As `Watch.stepped`."""
        return True

    def last_epoch(self, step: int, per_epoch: int) -> None:
        """As `Watch.last_epoch`."""

    def validated(self, epochs: float, value: float) -> None:
        """As `Watch.validated`."""
