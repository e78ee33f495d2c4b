"""What every fitted column has: from values to the codes and numbers that layers read.

A column is first *read*: its values become one small array a batch can carry (codes, floats, times or vectors). A layer
then *expands* what was read into codes of embeddings and numbers for a projection.

Legend: n values, P codes a value, Q numbers a value. Code 0 is no code at all; 1 is missing, 2 is unknown: a value that
training didn't have.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.config import Config
from onward.data.features.kinds import Owner

MISSING, UNKNOWN, FIRST = 1, 2, 3
"""Codes, and the first that stands for a value."""
Read = NDArray[Any]
Expanded = tuple[Tensor | None, Tensor | None]
"""(n, P) int64 codes and (n, Q) float32 numbers, each None where a kind has none."""


class ColumnBase(Config):
    """One column, fitted on the training part."""

    owner: Owner
    """Whose it is."""
    name: str
    """Its name in the table."""
    key: str
    """Its name among the columns of histories, or among what is known of a history."""
    known_at_request: bool = False
    """Whether it is known of the event to predict when the recommendation is asked for."""

    @property
    def places(self) -> int:
        """P, codes a value."""
        return 0

    @property
    def codes(self) -> int:
        """Different codes, 0 among them; 0 where the kind has none."""
        return 0

    @property
    def numbers(self) -> int:
        """Q, numbers a value."""
        return 0

    @abstractmethod
    def read(self, values: pl.Series) -> Read:
        """What a batch carries of these values; null is missing."""

    @abstractmethod
    def expand(self, read: Tensor) -> Expanded:
        """Codes and numbers of what was read."""

    def unknown(self, values: pl.Series) -> int:
        """Values that say nothing: training didn't have them, or they can't be read."""
        return 0

    def missing(self, size: int) -> Tensor:
        """What is read of (n,) values of which none is known."""
        one = torch.from_numpy(self.read(pl.Series([None])))
        return one.expand(size, *one.shape[1:])

    @property
    def described(self) -> str:
        """One sentence for people: how it is encoded."""
        return f"{self.owner} {self.name}: {self._how()}"

    @abstractmethod
    def _how(self) -> str: ...
