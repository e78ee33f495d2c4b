"""Times of any usual kind -> int64 microseconds, UTC.

Epoch numbers carry no unit, so each is taken by its size: below 1e11 seconds (until the year 5138), below 1e14
milliseconds, below 1e17 microseconds, and nanoseconds above. Sizes of two kinds in one column are an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.schema import reasons
from onward.errors import DataError

UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3, "min": 60e6, "h": 3600e6, "d": 86400e6}
"""Unit -> microseconds."""
BY_SIZE = ("s", "ms", "us", "ns")
LIMITS = np.array([1e11, 1e14, 1e17])
DATE = "date"
"""What `Times.unit` says of ISO texts, dates and datetime columns."""

_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M%#z",
)
_EXAMPLES = 3


@dataclass
class Times:
    """Reads the time column chunk by chunk and keeps which kinds it saw.

    Attributes:
        given: unit of epoch numbers where the user says it; found by size otherwise.
        counts: kind -> rows.
        seen: kind -> up to three examples, as (table, row, text).
    """

    given: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[tuple[str, int, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.given is not None and self.given not in UNITS:
            raise DataError(f"unknown time unit '{self.given}'; known: {', '.join(UNITS)}")

    def read(self, times: pl.Series, where: str, first_row: int) -> tuple[pl.Series, pl.Series | None]:
        """(microseconds, reasons) of one chunk; reasons are null where the time is good, None where all are."""
        rows = np.arange(first_row, first_row + times.len())
        missing = times.is_null()
        if times.dtype in (pl.Datetime, pl.Date):
            read = times.cast(pl.Datetime("us")).to_physical().cast(pl.Int64)
            self._note(DATE, ~missing.to_numpy(), times, where, rows)
        elif times.dtype == pl.String:
            missing |= (times == "").fill_null(False)
            read = self._text(times.str.strip_chars(), where, rows)
        else:
            read = self._numbers(times, times, where, rows)
        return read, reasons(times.len(), {"missing time": missing, "unreadable time": read.is_null()})

    @property
    def unit(self) -> str:
        """The one unit of all that was read. Raises DataError naming rows when there are several."""
        kinds = sorted(self.counts, key=lambda kind: -self.counts[kind])
        if len(kinds) > 1:
            said = "; ".join(self._example(kind) for kind in kinds)
            raise DataError(
                f"the times are of mixed kinds: {said}",
                "make them one kind, or say what all numbers are: --time-unit s, ms, us or ns",
            )
        return kinds[0] if kinds else DATE

    def _example(self, kind: str) -> str:
        name = {DATE: "dates", "s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        rows = ", ".join(f"{where} row {row} ('{text}')" for where, row, text in self.seen[kind])
        return f"{self.counts[kind]:,} like {name.get(kind, kind)}, first {rows}"

    def _note(self, kind: str, mine: NDArray[np.bool_], texts: pl.Series, where: str, rows: NDArray[np.int64]) -> None:
        count = int(mine.sum())
        if not count:
            return
        self.counts[kind] = self.counts.get(kind, 0) + count
        examples = self.seen.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            picks = np.flatnonzero(mine)[: _EXAMPLES - len(examples)]
            examples += [(where, int(rows[pick]), str(texts[int(pick)])) for pick in picks]

    def _text(self, texts: pl.Series, where: str, rows: NDArray[np.int64]) -> pl.Series:
        """Whole numbers, then other numbers, then dates: each among what the one before left unread."""
        read = self._numbers(texts.cast(pl.Int64, strict=False), texts, where, rows)
        for stage in (self._fractions, self._dates):
            left = (read.is_null() & texts.is_not_null()).arg_true()
            if not left.len():
                break
            some = stage(texts.gather(left), where, rows[left.to_numpy()])
            read = some if left.len() == texts.len() else read.scatter(left, some)
        return read

    def _fractions(self, texts: pl.Series, where: str, rows: NDArray[np.int64]) -> pl.Series:
        return self._numbers(texts.cast(pl.Float64, strict=False), texts, where, rows)

    def _dates(self, texts: pl.Series, where: str, rows: NDArray[np.int64]) -> pl.Series:
        dates = read_dates(texts)
        self._note(DATE, dates.is_not_null().to_numpy(), texts, where, rows)
        return dates

    def _numbers(self, numbers: pl.Series, texts: pl.Series, where: str, rows: NDArray[np.int64]) -> pl.Series:
        """Numbers to microseconds, each size by its own unit; null where it is no number, or none that fits."""
        size = numbers.cast(pl.Float64).abs().fill_null(float("nan")).to_numpy()
        usable = np.isfinite(size)
        if self.given is not None:
            self._note(self.given, usable, texts, where, rows)
            return _scale(numbers, UNITS[self.given], usable & (size * UNITS[self.given] < 9e18))
        band = np.searchsorted(LIMITS, np.where(usable, size, 0.0), side="right")
        read = pl.zeros(0, pl.Int64, eager=True)
        for kind in np.flatnonzero(np.bincount(band, minlength=1)):
            mine = usable & (band == kind)
            self._note(BY_SIZE[kind], mine, texts, where, rows)
            scaled = _scale(numbers, UNITS[BY_SIZE[kind]], mine)
            read = scaled if not read.len() else read.fill_null(scaled)
        return read


def _scale(numbers: pl.Series, factor: float, usable: NDArray[np.bool_]) -> pl.Series:
    if not usable.all():
        numbers = numbers.set(pl.Series(~usable), None)
    if numbers.dtype.is_integer():
        whole = numbers.cast(pl.Int64, strict=False)
        return whole * int(factor) if factor >= 1 else whole // 1000
    return (numbers.cast(pl.Float64) * factor).round(0).cast(pl.Int64, strict=False)


def read_dates(texts: pl.Series) -> pl.Series:
    """ISO texts to microseconds; null where unreadable. Without a zone they are UTC."""
    plain = texts.str.replace_all("/", "-", literal=True).str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "${1} ")
    plain = plain.str.replace(r"\s*[Zz]$|\s+UTC$", "+00:00").str.replace(r"(\d)\s+([+-]\d\d:?\d\d)$", "${1}${2}")
    read: pl.Series | None = None
    for layout in _FORMATS:
        zoned = layout.endswith("z")
        parsed = plain.str.to_datetime(layout, time_unit="us", time_zone="UTC" if zoned else None, strict=False)
        micros = parsed.to_physical()
        read = micros if read is None else read.fill_null(micros)
        if read.null_count() == texts.null_count():
            break
    assert read is not None
    return read


def describe(micros: int) -> str:
    """A time for people: date and minute, UTC."""
    return str(np.datetime64(micros, "us").astype("datetime64[s]")).replace("T", " ")
