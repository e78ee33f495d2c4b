"""Times of every kind to microseconds."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onward.data.times import Times
from onward.errors import DataError

NOON = 1_577_880_000_000_000  # 2020-01-01 12:00 UTC in microseconds


def read(values: list[object], unit: str | None = None, dtype: object = None) -> tuple[list[int | None], Times]:
    times = Times(unit)
    micros, _ = times.read(pl.Series(values, dtype=dtype), "log.csv", 1)  # type: ignore[arg-type]
    return micros.to_list(), times


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-01 12:00:00",
        "2020-01-01T12:00:00",
        "2020-01-01T12:00:00Z",
        "2020-01-01t12:00:00.000000z",
        "2020-01-01 14:00:00+02:00",
        "2020-01-01T07:00:00-0500",
        "2020-01-01 12:00:00 UTC",
        "2020-01-01 12:00",
        "2020-01-01T12:00Z",
        "2020/01/01 12:00:00",
        " 2020-01-01 12:00:00 ",
        "1577880000",
        "1577880000.0",
        "1577880000000",
        "1577880000000000",
        "1577880000000000000",
    ],
)
def test_texts(text):
    assert read([text])[0] == [NOON]


@pytest.mark.parametrize(
    ("value", "unit"), [(NOON // 10**6, "s"), (NOON // 1000, "ms"), (NOON, "us"), (NOON * 1000, "ns")]
)
def test_numbers_by_size(value, unit):
    micros, times = read([value, value])
    assert (micros, times.unit) == ([NOON] * 2, unit)


@pytest.mark.parametrize(
    ("value", "unit"), [(5, "s"), (5, "ms"), (5, "us"), (5000, "ns"), (5, "min"), (5, "h"), (5, "d")]
)
def test_a_given_unit_rules(value, unit):
    scale = {"s": 10**6, "ms": 1000, "us": 1, "ns": 1, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
    micros, times = read([value], unit)
    assert (micros, times.unit) == ([5 * scale[unit]], unit)


def test_typed_columns():
    noon = dt.datetime(2020, 1, 1, 12)
    assert read([noon], dtype=pl.Datetime("ns"))[0] == [NOON]
    assert read([noon], dtype=pl.Datetime("ms"))[0] == [NOON]
    assert read([dt.date(2020, 1, 1)])[0] == [NOON - 43_200_000_000]
    zoned = pl.Series([noon]).dt.replace_time_zone("Europe/Amsterdam")
    assert Times().read(zoned, "log.csv", 1)[0].to_list() == [NOON - 3_600_000_000]


def test_fractions_of_seconds_are_kept():
    assert read([1396860669.277])[0] == [1_396_860_669_277_000]
    assert read(["1396860669.277"])[0] == [1_396_860_669_277_000]
    assert read(["2020-01-01 12:00:00.25"])[0] == [NOON + 250_000]


def test_what_cannot_be_read_has_a_reason():
    micros, why = Times().read(pl.Series(["2020-01-01", "soon", "", None, "2020-13-01"]), "log.csv", 1)
    assert micros.is_null().to_list() == [False, True, True, True, True]
    assert why is not None
    assert why.to_list() == [None, "unreadable time", "missing time", "missing time", "unreadable time"]


def test_numbers_that_are_no_time():
    micros, why = Times().read(pl.Series([1.5, float("nan"), float("inf")]), "log.csv", 1)
    assert micros.to_list() == [1_500_000, None, None]
    assert why is not None
    assert why.to_list() == [None, "unreadable time", "unreadable time"]
    assert read([10**15], "h")[0] == [None]  # past the end of int64


def test_mixed_units_name_the_rows():
    times = Times()
    times.read(pl.Series([1577880000, 1577880001]), "a.csv", 1)
    times.read(pl.Series([1577880002, 1577880000000]), "b.csv", 11)
    with pytest.raises(
        DataError, match=r"3 like seconds, first a\.csv row 1 .* 1 like milliseconds, first b\.csv row 12"
    ):
        _ = times.unit


def test_numbers_among_dates_are_mixed_too():
    with pytest.raises(DataError, match="like dates"):
        _ = read(["2020-01-01", "1577880000"])[1].unit


def test_an_unknown_unit():
    with pytest.raises(DataError, match="unknown time unit 'weeks'"):
        Times("weeks")


@settings(deadline=None)
@given(st.lists(st.integers(10**17, 4 * 10**18), min_size=1, max_size=20), st.integers(1, 5))
def test_nanoseconds_lose_nothing_whatever_stands_beside_them(values, chunk):
    """A fraction or a word in the same chunk must not turn the others into floats."""
    texts = [str(value) for value in values] + ["soon", "1e17"]
    whole, _ = read(texts)
    parts: list[int | None] = []
    for first in range(0, len(texts), chunk):
        parts += read(texts[first : first + chunk])[0]
    assert whole == parts
    assert whole[: len(values)] == [value // 1000 for value in values]
