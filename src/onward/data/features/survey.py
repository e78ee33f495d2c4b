"""A look at columns whose kind nobody has said: one pass over the tables, chunk by chunk, in little memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from onward.data.features.cells import MISSING, are_lists, are_numbers
from onward.data.features.kinds import Family, family
from onward.data.readers import Source
from onward.data.times import read_dates

_BITS = 24


class Distinct:
    """Counts different values by linear counting: within 0.1% up to 50 million, nearly exact below 10,000.

    Source: Whang, Vander-Zanden, Taylor, "A linear-time probabilistic counting algorithm" (1990).
    """

    def __init__(self) -> None:
        self._seen = np.zeros(1 << _BITS, dtype=np.bool_)

    def add(self, values: pl.Series) -> None:
        """Take in the values of one chunk."""
        self._seen[values.hash(seed=5).to_numpy() >> (64 - _BITS)] = True

    def count(self) -> int:
        """Different values so far, about."""
        size = len(self._seen)
        free = size - int(np.count_nonzero(self._seen))
        return round(-size * float(np.log(max(free, 1) / size)))


class Survey:
    """What was seen of one column.

    Attributes:
        rows, known: rows, and those with a value.
        families: families of the types it had in the tables.
        types: RecBole's types of it, where the tables have them.
        dtype: type in the first table.
        numbers, whole, times, lists: whether all its values read as numbers, whole numbers, times, `[...]`.
        padded: whether a number among them starts with 0, as codes do.
        vectors, fraction: whether all those lists hold numbers alone, and whether one has a fraction.
        bars: whether some text has `|` in it.
        words: words a text, on average.
        low, high: range of the numbers.
        distinct: different values, about.
    """

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self.rows = self.known = 0
        self.families: set[Family] = set()
        self.types: set[str] = set()
        self.numbers = self.whole = self.times = self.lists = self.vectors = True
        self.padded = self.bars = self.fraction = False
        self.low, self.high = np.inf, -np.inf
        self._words = 0
        self._distinct = Distinct()

    @property
    def words(self) -> float:
        """Words a text, on average."""
        return self._words / max(self.known, 1)

    @property
    def distinct(self) -> int:
        """Different values, about; not counted for vectors."""
        return min(self._distinct.count(), self.known)

    def add(self, cells: pl.Series, untyped: bool, declared: str | None = None) -> None:
        """Take in one chunk.

        Args:
            untyped: whether texts may be numbers, times or lists, as the file knows no types.
            declared: RecBole's type of the column.
        """
        self.rows += cells.len()
        kind = family(cells.dtype)
        if kind == "text":
            cells = cells.cast(pl.String)
            cells = cells.filter(cells != "")
        elif kind == "number":
            cells = cells.drop_nulls().drop_nans()
        else:
            cells = cells.drop_nulls()
        if declared is not None:
            self.types.add(declared)
        self.known += cells.len()
        if not cells.len():
            return
        self.families.add(kind)
        if kind in ("vector", "other"):
            return
        self._distinct.add(cells.cast(pl.List(pl.String)).list.join("\0") if kind == "set" else cells)
        if kind == "text":
            self._text(cells, untyped)
        elif kind in ("whole", "number"):
            self.times = self.lists = False
            self.whole &= kind == "whole" or bool((cells.floor() == cells).all())
            self._range(cells)
        else:
            self.numbers = self.whole = self.lists = False
            self.times &= kind == "time"

    def _text(self, cells: pl.Series, untyped: bool) -> None:
        if not untyped:
            self.numbers = self.whole = self.times = self.lists = False
        self._words += int(cells.str.count_matches(r"\S+").sum())
        self.bars |= bool(cells.str.contains("|", literal=True).any())
        self.lists = self.lists and are_lists(cells)
        if self.lists:
            of_numbers, fraction = are_numbers(cells)
            self.vectors &= of_numbers
            self.fraction |= fraction
        if not (self.numbers or self.times):
            return
        cells = cells.str.strip_chars()
        cells = cells.filter(~cells.is_in(MISSING))
        if self.numbers:
            numbers = cells.cast(pl.Float64, strict=False)
            self.numbers = not numbers.null_count()
            if self.numbers:
                self.whole &= bool((numbers.floor() == numbers).all())
                self.padded |= bool(cells.str.contains(r"^-?0\d").any())
                self._range(numbers)
        if self.times:
            self.times = not read_dates(cells).null_count()

    def _range(self, numbers: pl.Series) -> None:
        if numbers.len():
            self.low = min(self.low, float(numbers.min()))  # type: ignore[arg-type]
            self.high = max(self.high, float(numbers.max()))  # type: ignore[arg-type]


def survey(sources: Sequence[Source], columns: Sequence[str]) -> Mapping[str, Survey]:
    """Look at some columns of all tables; a table that lacks one is passed over.

    Raises:
        DataError: a table can't be read.
    """
    found: dict[str, Survey] = {}
    for source in sources:
        mine = [name for name in columns if name in source.dtypes]
        for name in mine:
            found.setdefault(name, Survey(source.dtypes[name]))
        for _, chunk in source.read(mine) if mine else ():
            for name in mine:
                found[name].add(chunk[name], source.untyped, source.types.get(name))
    return found
