"""Categories and sets of them. Legend as in `column.py`."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from torch import Tensor

from onward.models.features.column import FIRST, MISSING, UNKNOWN, ColumnBase, Expanded, Read


class CategoryColumn(ColumnBase):
    """A category, or a set of them: a learned vector a value, the mean of them for a set."""

    kind: Literal["category", "categories"]
    """Kind."""
    vocabulary: list[str] = []
    """Values of the training part, most frequent first; empty where they are hashed."""
    buckets: int = 0
    """Where there are too many values for a vector each: values are hashed into so many."""
    longest: int = Field(1, ge=1)
    """Members of a set that are read, at most, the most frequent first."""

    @property
    def places(self) -> int:
        """As in the base class."""
        return self.longest

    @property
    def codes(self) -> int:
        """As in the base class."""
        return FIRST + (self.buckets or len(self.vocabulary))

    def read(self, values: pl.Series) -> Read:
        """(n, P) int32 codes; a set's are padded with 0."""
        if self.kind == "category":
            return self._coded(values.cast(pl.String)).fill_null(MISSING).to_numpy().astype(np.int32)[:, None]
        return self._sets(members(values))

    def _sets(self, sets: pl.Series) -> Read:
        row = np.repeat(np.arange(len(sets)), sets.list.len().fill_null(0).to_numpy())
        flat = self._coded(sets.explode(empty_as_null=False, keep_nulls=False)).drop_nulls().to_numpy()
        read = np.zeros((len(sets), self.longest), dtype=np.int32)
        order = np.lexsort((flat, row))
        row, flat = row[order], flat[order]
        first = np.searchsorted(row, np.arange(len(sets)))
        place = np.arange(len(row)) - first[row]
        kept = place < self.longest
        read[row[kept], place[kept]] = flat[kept]
        read[read[:, 0] == 0, 0] = MISSING
        return read

    def _coded(self, texts: pl.Series) -> pl.Series:
        """Codes of texts, null where null."""
        if self.buckets:
            distinct = texts.drop_nulls().unique()
            codes = [FIRST + bucket(text, self.buckets) for text in distinct]
        else:
            distinct = pl.Series(self.vocabulary, dtype=pl.String)
            codes = list(range(FIRST, FIRST + len(distinct)))
        found = texts.replace_strict(distinct, codes, default=UNKNOWN, return_dtype=pl.Int32)
        return pl.select(pl.when(texts.is_not_null()).then(found)).to_series()

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return read.long(), None

    def unknown(self, values: pl.Series) -> int:
        """As in the base class."""
        return int((self.read(values) == UNKNOWN).sum())

    def _how(self) -> str:
        what = f"{len(self.vocabulary)} values" if self.vocabulary else f"hashed into {self.buckets}"
        return f"{self.kind}, {what}" + (f", up to {self.longest} a set" if self.kind == "categories" else "")


def bucket(text: str, buckets: int) -> int:
    """The bucket of a value, the same on every machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"onward").digest()
    return int.from_bytes(digest, "big") % buckets


def members(values: pl.Series) -> pl.Series:
    """Sets as List(String) without empty or missing members; a text is split at `|`, or else at spaces."""
    if not isinstance(values.dtype, pl.List):
        text = values.cast(pl.String)
        at = "|" if text.str.contains("|", literal=True).any() else " "
        values = text.str.split(at)
    return values.cast(pl.List(pl.String)).list.eval(
        pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))
    )
