"""Vectors, and texts that an encoder makes vectors of. Legend as in `column.py`."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from onward.models.features.column import ColumnBase, Expanded, Read

LONGEST = 1_000.0
"""A vector with a number beyond this, scaled, is none: of a million training vectors none can be so long, and a single
one that is no number would leave every list without an order."""


class VectorColumn(ColumnBase):
    """A vector, or a text that an encoder made one: centred, scaled to a length of about 1, projected."""

    kind: Literal["vector", "text"]
    """Kind."""
    encoder: str = ""
    """For texts: name of the encoder (`onward.text`)."""
    mean: list[float]
    """Of the training values."""
    scale: float = Field(1.0, gt=0)
    """Root of the mean squared length after centring."""

    @property
    def numbers(self) -> int:
        """The vector and a flag where it is missing."""
        return len(self.mean) + 1

    def read(self, values: pl.Series) -> Read:
        """(n, Q) float32; a missing one is zero but for its flag."""
        if not self.encoder and isinstance(values.dtype, pl.List):  # one of another width says nothing
            values = pl.select(pl.when(values.list.len() == len(self.mean)).then(values)).to_series()
        missing = values.is_null().to_numpy()
        vectors = np.zeros((len(values), len(self.mean) + 1), dtype=np.float32)
        if not missing.all():
            given = vectors_of(values.drop_nulls(), self.encoder, refuse=False)
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = (given - np.array(self.mean, dtype=np.float32)) / np.float32(self.scale)
                sound = np.abs(scaled).max(axis=1, initial=0) <= LONGEST
            if self.encoder:  # a text that its encoder can't read is missing too
                sound &= given.any(axis=1)
            vectors[~missing, :-1] = scaled
            missing[~missing] = ~sound
        vectors[missing] = 0.0
        vectors[missing, -1] = 1.0
        return vectors

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return None, read

    def unknown(self, values: pl.Series) -> int:
        """As in the base class; a text in a script that the encoder can't read."""
        if not self.encoder:
            return 0
        from onward.text.encoders import unreadable

        return unreadable(values.cast(pl.String).to_list(), self.encoder)

    def _how(self) -> str:
        made = f" made by '{self.encoder}'" if self.encoder else ""
        return f"{self.kind}, {len(self.mean)} numbers{made}"


def encoder_for(texts: pl.Series) -> tuple[str, str]:
    """Name of the encoder that fits a column of texts, and why it was chosen."""
    from onward.text.encoders import text_encoder_for

    return text_encoder_for(texts.drop_nulls().cast(pl.String).to_list())


def vectors_of(values: pl.Series, encoder: str, refuse: bool = True) -> NDArray[np.float32]:
    """(n, d) float32 of a column without nulls: lists of numbers, or texts with the encoder's name.

    `refuse`: whether texts that the encoder mostly can't read are an error; else such a text is a row of zeros.
    """
    if not encoder:
        flat = values.explode(empty_as_null=False, keep_nulls=False).cast(pl.Float32).to_numpy()
        return flat.reshape(len(values), -1)
    from onward.text.encoders import encode_texts

    made: NDArray[np.float32] = encode_texts(values.cast(pl.String).to_list(), encoder, refuse=refuse)
    return made
