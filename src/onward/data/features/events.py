"""Features of events on their way into the dataset: read chunk by chunk, coded, and their values written at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.dataset import FEATURE, MISSING_TIME
from onward.data.features.cells import Place, read_categories, read_numbers, read_sets, read_vectors
from onward.data.features.codes import NO_CODE, Ids
from onward.data.features.kinds import MAX_VALUES, Kind, family
from onward.data.times import Times
from onward.errors import DataError

SENTIMENT = ".sentiment"
"""Ends the name of a feature that is the mood of a text."""


class EventFeature(ABC):
    """One feature column of the log.

    Attributes:
        source: the column of the log that it is read from.
        scanned: dtype of what `read` gives.
        stored: dtype of the final array.
    """

    scanned: str
    stored: str

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = self.source = name
        self.kind = kind

    @property
    def column(self) -> str:
        """Name of its array among the columns."""
        return FEATURE + self.name

    @abstractmethod
    def read(self, cells: pl.Series, place: Place, recbole: str | None) -> NDArray[Any]:
        """(n,) what stands for each cell until all are read.

        Args:
            recbole: RecBole's type of the column, where the table has them.

        Raises:
            DataError: a cell that can't be read as this kind; names table, row and column.
        """

    def finish(self) -> None:  # noqa: B027 (most kinds have nothing to finish)
        """Called once after the last chunk.

        Raises:
            DataError: the cells don't go together.
        """

    def final(self, scanned: NDArray[Any]) -> NDArray[Any]:
        """(n,) what is stored of cells that were read; called after `finish`."""
        return scanned

    @property
    def values(self) -> pl.Series | None:
        """What the codes mean: code c is row c - 1; None for a kind that isn't coded."""
        return None


class NumberFeature(EventFeature):
    """float32, NaN where missing."""

    scanned = stored = "<f4"

    def read(self, cells: pl.Series, place: Place, recbole: str | None) -> NDArray[Any]:
        """(n,) float32."""
        return read_numbers(cells, place).cast(pl.Float32).fill_null(float("nan")).to_numpy()


class TimeFeature(EventFeature):
    """int64 microseconds, UTC; MISSING_TIME where missing."""

    scanned = stored = "<i8"

    def __init__(self, name: str, kind: Kind) -> None:
        super().__init__(name, kind)
        self._times = Times()

    def read(self, cells: pl.Series, place: Place, recbole: str | None) -> NDArray[Any]:
        """(n,) int64."""
        if family(cells.dtype) in ("flag", "set", "vector", "other"):
            raise place.wrong_type("time", cells.dtype)
        read, reasons = self._times.read(cells, place.where, place.row(0) if cells.len() else 0)
        if reasons is not None:
            wrong = (reasons == "unreadable time").fill_null(False)
            if wrong.any():
                at = int(wrong.arg_true()[0])
                raise place.mismatch(at, "time", cells[at])
        return read.fill_null(MISSING_TIME).to_numpy()

    def finish(self) -> None:
        """Raises DataError for epoch numbers of several units."""
        try:
            _ = self._times.unit
        except DataError as error:
            raise DataError(f"column '{self.name}': {error.message}", "make them one kind") from None


class NamedFeature(EventFeature):
    """category, text: int32 codes of names in byte order."""

    scanned, stored = "<u4", "<i4"

    def __init__(self, name: str, kind: Kind) -> None:
        super().__init__(name, kind)
        self._ids = Ids()
        self._names = pl.Series([], dtype=pl.String)
        self._rank = np.zeros(0, dtype=np.int32)

    def read(self, cells: pl.Series, place: Place, recbole: str | None) -> NDArray[Any]:
        """(n,) uint32 codes, NO_CODE where missing."""
        codes = self._ids.codes(self._text(cells, place, recbole))
        check_values(codes, place, self.kind)
        return codes

    def _text(self, cells: pl.Series, place: Place, recbole: str | None) -> pl.Series:
        return read_categories(cells, place)

    def finish(self) -> None:
        """Put the names in byte order."""
        self._names, self._rank = self._ids.ranked()

    def final(self, scanned: NDArray[Any]) -> NDArray[Any]:
        """(n,) int32 codes from 1, 0 where missing."""
        return code_from_one(scanned, self._rank)

    @property
    def values(self) -> pl.Series | None:
        """The names, String."""
        return self._names


class SetFeature(NamedFeature):
    """categories: int32 codes of sets, in byte order of their joined names."""

    def _text(self, cells: pl.Series, place: Place, recbole: str | None) -> pl.Series:
        sets = read_sets(cells, place, " " if recbole == "token_seq" else None)
        split = sets.list.eval(pl.element().str.contains("\0", literal=True)).list.any().fill_null(False)
        if split.any():
            raise place.fault(int(split.arg_true()[0]), "has a name with a zero byte in it")
        return sets.list.join("\0")

    @property
    def values(self) -> pl.Series:
        """The sets, List(String)."""
        return self._names.str.split("\0")


class SentimentFeature(NamedFeature):
    """number: float32, the mood of a text, from -1 to 1; NaN where missing, or not in Latin script.

    Each different text is looked at once, when all are read, so that neither chunks nor their size decide which script
    most of them are in.
    """

    stored = "<f4"

    def __init__(self, column: str) -> None:
        super().__init__(column + SENTIMENT, "number")
        self.source = column
        from onward.text.sentiment import sentiment

        self._moods = sentiment([])  # a missing extra is an error before anything is read

    def finish(self) -> None:
        """Find the moods.

        Raises:
            DataError: the texts are mostly not in Latin script; names the column and a text.
        """
        from onward.text.scripts import latin, mostly_latin
        from onward.text.sentiment import sentiment

        super().finish()
        texts = self._names.to_list()
        readable = latin(texts)
        if not mostly_latin(readable):
            other = texts[int(np.argmin(readable))]
            raise DataError(
                f"column '{self.source}': sentiment knows English, and {1 - readable.mean():.0%} of {len(texts):,} "
                f"different texts are not in Latin script, such as {other[:40]!r}",
                "leave sentiment out of features.toml, or give a number column with the mood",
            )
        self._moods = sentiment(texts)

    def final(self, scanned: NDArray[Any]) -> NDArray[Any]:
        """(n,) float32."""
        moods: NDArray[Any] = np.append(np.float32(np.nan), self._moods)[super().final(scanned)]
        return moods

    @property
    def values(self) -> None:
        """Numbers have no codes."""
        return None


class VectorFeature(EventFeature):
    """vector: int32 codes of vectors, numbered by first use; the vectors wait on disk."""

    scanned, stored = "<u4", "<i4"

    def __init__(self, name: str, kind: Kind, file: Path) -> None:
        super().__init__(name, kind)
        self._file = file
        self._width: int | None = None
        self._codes: dict[bytes, int] = {}

    def read(self, cells: pl.Series, place: Place, recbole: str | None) -> NDArray[Any]:
        """(n,) uint32 codes, NO_CODE where missing."""
        vectors, there = read_vectors(cells, place, self._width)
        codes = np.full(len(cells), NO_CODE, dtype=np.uint32)
        if not there.any():
            return codes
        self._width = vectors.shape[1]
        rows = np.ascontiguousarray(vectors[there])
        whole = rows.view(f"V{rows.itemsize * self._width}").ravel()
        _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
        number = np.zeros(len(first), dtype=np.uint32)
        with self._file.open("ab") as file:
            for which in np.argsort(first):  # by first use, whatever the chunks
                vector = whole[first[which]].tobytes()
                key = blake2b(vector, digest_size=16).digest()
                if key not in self._codes:
                    self._codes[key] = len(self._codes)
                    file.write(vector)
                number[which] = self._codes[key]
        codes[there] = number[inverse]
        check_values(codes, place, self.kind)
        return codes

    def final(self, scanned: NDArray[Any]) -> NDArray[Any]:
        """(n,) int32 codes from 1, 0 where missing."""
        return code_from_one(scanned, np.arange(len(self._codes), dtype=np.int32))

    @property
    def values(self) -> pl.Series:
        """The vectors, List(Float32)."""
        if self._width is None:
            return pl.Series([], dtype=pl.List(pl.Float32))
        rows = np.fromfile(self._file, dtype=np.float32).reshape(-1, self._width)
        return pl.Series(rows).arr.to_list()


def make_feature(name: str, kind: Kind, work: Path, number: int) -> EventFeature:
    """The feature of one kind; `work` is where vectors wait, in a file of this number."""
    if kind == "vector":
        return VectorFeature(name, kind, work / f"vectors-{number}.f4")
    kinds: dict[str, type[EventFeature]] = {"number": NumberFeature, "time": TimeFeature, "categories": SetFeature}
    return kinds.get(kind, NamedFeature)(name, kind)


def check_values(codes: NDArray[np.uint32], place: Place, kind: str) -> None:
    """Raise DataError at the first row whose value is one too many."""
    beyond = (codes >= MAX_VALUES) & (codes != NO_CODE)
    if beyond.any():
        raise place.fault(
            int(np.argmax(beyond)),
            f"has more than {MAX_VALUES:,} different values by this row, too many for a {kind} of the event",
            "a number or a time may have any number of values; what belongs to items goes into --items",
        )


def code_from_one(scanned: NDArray[np.uint32], rank: NDArray[np.int32]) -> NDArray[np.int32]:
    """Codes of the scan to those that are stored: their rank + 1, and 0 where missing."""
    codes = np.zeros(len(scanned), dtype=np.int32)
    known = scanned != NO_CODE
    codes[known] = rank[scanned[known]] + 1
    return codes
