"""Search spaces: which values of a setting are worth trying, declared beside the setting itself.

A space is metadata of the field of a `Config`, so that one file holds all that there is to know of a model::

    dropout: Annotated[float, Range(0.0, 0.6)] = Field(0.2, ge=0, lt=1)
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

Value = float | int | str | bool | None
"""What a setting that is searched may be; None where it may be left out."""


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included; whole numbers where both ends are.

    Attributes:
        log: drawn evenly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """Some values, in the order that they are tried in where nothing else decides."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join("absent" if value is None else str(value) for value in self.values)


Space = Range | Choice


def spaces(config: type[BaseModel]) -> dict[str, Space]:
    """The settings of a Config that have a space, by name, in the order of its fields."""
    found = {
        name: [one for one in field.metadata if isinstance(one, Range | Choice)]
        for name, field in config.model_fields.items()
    }
    return {name: declared[0] for name, declared in found.items() if declared}
