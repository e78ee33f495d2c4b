"""Codes for texts: numbers while a log is read, ranks in byte order once it is."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

NO_CODE = np.uint32(2**32 - 1)
"""Code of a missing text."""


class Ids:
    """Texts -> codes 0, 1, 2... in no particular order; polars' categories hold the texts, once each."""

    def __init__(self) -> None:
        self._dtype = pl.Categorical(pl.Categories.random())
        self._kept = pl.Series([], dtype=self._dtype)  # without a series of theirs polars forgets them
        self._size = 0

    def codes(self, texts: pl.Series) -> NDArray[np.uint32]:
        """(n,) uint32 code of each text; NO_CODE for a missing one."""
        codes = texts.cast(self._dtype).to_physical()
        largest = codes.max()
        if isinstance(largest, int):
            self._size = max(self._size, largest + 1)
        return codes.fill_null(NO_CODE).to_numpy()

    def ranked(self) -> tuple[pl.Series, NDArray[np.int32]]:
        """The texts in byte order, and the (n,) int32 rank of each code."""
        codes = pl.Series(np.arange(self._size, dtype=np.uint32))
        texts = codes.cat.to(self._dtype).cast(pl.String)
        order = texts.arg_sort(nulls_last=True).head(self._size - texts.null_count()).to_numpy()
        rank = np.full(self._size, -1, dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return texts.gather(order), rank
