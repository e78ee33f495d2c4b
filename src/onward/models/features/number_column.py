"""Numbers, piecewise linear between quantiles. Legend as in `column.py`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from onward.models.features.column import ColumnBase, Expanded, Read

CLIP = 4.0
"""Numbers farther from the middle than this, in scales, count as this far."""


class NumberColumn(ColumnBase):
    """A number, normalised, then piecewise linear between quantiles (Gorishniy et al., NeurIPS 2022, arXiv:2203.05556).

    A missing one counts as the training median, and has a flag.
    """

    kind: Literal["number"] = "number"
    """Kind."""
    transform: Literal["none", "standard", "log", "quantile"] = "none"
    """`log`: log(1 + x - least) first; `quantile`: its rank among the training values."""
    median: float
    """Of the training values."""
    least: float = 0.0
    """Smallest training value."""
    middle: float = 0.0
    """Mean after the transform."""
    scale: float = Field(1.0, gt=0)
    """Standard deviation after the transform."""
    knots: list[float] = []
    """Training quantiles, for `quantile`."""
    edges: list[float] = []
    """Normalised training quantiles between which the encoding is linear."""

    @property
    def numbers(self) -> int:
        """The normalised number, its place in each interval, and the flag."""
        return 1 + max(0, len(self.edges) - 1) + 1

    def read(self, values: pl.Series) -> Read:
        """(n,) float32 normalised, NaN where missing."""
        return self.normalise(values.cast(pl.Float64).fill_null(np.nan).to_numpy()).astype(np.float32)

    def transformed(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) numbers after the transform; NaN stays."""
        if self.transform == "quantile":
            return np.interp(numbers, self.knots, np.linspace(0.0, 1.0, len(self.knots)))
        return np.log1p(np.maximum(numbers - self.least, 0.0)) if self.transform == "log" else numbers

    def normalise(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) numbers after the transform, in scales from the middle; NaN stays."""
        return np.clip((self.transformed(numbers) - self.middle) / self.scale, -CLIP, CLIP)

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        missing = read.isnan()
        numbers = read.where(~missing, float(self.normalise(np.array([self.median]))[0]))[:, None]
        return None, torch.cat([numbers / CLIP, piecewise(numbers, self.edges), missing[:, None].float()], 1)

    def _how(self) -> str:
        means = {"none": "as it is", "standard": "standardised", "log": "log, standardised", "quantile": "by its rank"}
        return f"number, {means[self.transform]}, {max(0, len(self.edges) - 1)} intervals"


def piecewise(numbers: Tensor, edges: list[float]) -> Tensor:
    """(n, K - 1) how far (n, 1) numbers are through each interval between K edges, from 0 to 1; (n, 0) without any."""
    if len(edges) < 2:
        return numbers.new_zeros(len(numbers), 0)
    ends = torch.tensor(edges, dtype=torch.float64, device=numbers.device)
    return ((numbers - ends[:-1]) / ends.diff()).clamp_(0, 1).float()
