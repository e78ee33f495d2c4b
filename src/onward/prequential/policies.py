"""Refit policies: which model answers in which period."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from onward.errors import ConfigError

Kind = Literal["full", "fine-tune"]
DEFAULT = ("never", "full", "fine-tune")


@dataclass(frozen=True)
class ModelKey:
    """One model of a walk.

    Attributes:
        kind: trained from nothing on all events before the period, or gone on with from an earlier one's weights.
        period: from whose beginning on it could serve.
        every: periods since the model that it went on from; 1 of full trainings.
    """

    kind: Kind
    period: int
    every: int = 1

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.kind}-{self.period:04}" if self.every == 1 else f"{self.kind}-{self.every}-{self.period:04}"

    @property
    def parent(self) -> ModelKey | None:
        """The model that it went on from; None of a full training."""
        if self.kind == "full":
            return None
        before = self.period - self.every
        return ModelKey("fine-tune", before, self.every) if before else ModelKey("full", 0)


@dataclass(frozen=True)
class Policy:
    """When models are made anew, and how.

    Attributes:
        name: as it was asked for.
        kind: how a model is made; None for never.
        every: periods between two of them.
    """

    name: str
    kind: Kind | None
    every: int

    def model(self, period: int) -> ModelKey:
        """The model that answers in a period. All policies begin with the same one."""
        made = 0 if self.kind is None else period - period % self.every
        return ModelKey("fine-tune", made, self.every) if made and self.kind == "fine-tune" else ModelKey("full", made)


def parse_policies(names: Sequence[str]) -> list[Policy]:
    """`never`, `full`, `fine-tune`, `full:4` (every fourth period) and so on.

    Raises ConfigError naming one that is unknown or there twice.
    """
    found = []
    for name in names:
        parts = re.fullmatch(r"(never|full|fine-tune)(?::(\d+))?", name)
        every = int(parts[2] or 1) if parts else 0
        if not parts or not every or (parts[1] == "never" and parts[2]):
            raise ConfigError(
                f"unknown refit policy '{name}'", "never, full, fine-tune, or full:4 for every fourth period"
            )
        kind = None if parts[1] == "never" else cast(Kind, parts[1])
        found.append(Policy(name, kind, every))
    if not found or len({(one.kind, one.every) for one in found}) < len(found):
        raise ConfigError(f"refit policies '{','.join(names)}' are none, or one of them is there twice")
    return found


def reference(policies: Sequence[Policy]) -> Policy:
    """What the others are compared with: full retraining before every period, or else the first."""
    return next((one for one in policies if one.name in ("full", "full:1")), policies[0])


def delays(policies: Sequence[Policy], periods: int) -> list[int]:
    """Ages, in periods, at which models of full retraining answer too, for the cost of delay: 1, 2, 4..."""
    if reference(policies) != Policy(reference(policies).name, "full", 1):
        return []
    return [2**power for power in range(periods.bit_length()) if 2**power < periods]


def delayed(period: int, age: int) -> ModelKey:
    """The model of full retraining that is some periods old."""
    return ModelKey("full", period - age)
