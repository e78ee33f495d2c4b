"""Numbers with a decimal comma, as spreadsheets write them where the comma is no separator: `10,50` and `1.234,56`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

_WHOLE = r"[-+]?(?:\d+|\d{1,3}(?:\.\d{3})+)"
_NUMBER = re.compile(rf"{_WHOLE}(?:,(\d+))?")
_WITH_COMMA = rf"^\s*{_WHOLE},\d+\s*$"
_THOUSANDS = r"^\s*[-+]?\d{1,3}(?:\.\d{3})+\s*$"


def find_commas(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns that hold numbers with a decimal comma, by the first rows of a file that is cut at semicolons.

    All that has a digit in it must be such a number or a whole one, and so must half of what is there; one must have a
    comma. Where three digits follow every comma, it may part thousands, and nothing is decided.
    """
    cells = {name: [row[at].strip() for row in rows if len(row) > at] for at, name in enumerate(names)}
    return [name for name, some in cells.items() if _are_numbers(some)]


def _are_numbers(cells: Sequence[str]) -> bool:
    found = [_NUMBER.fullmatch(cell) for cell in cells if any(map(str.isdigit, cell))]
    fractions = {number[1] for number in found if number and number[1]}
    most = 2 * len(found) >= sum(map(bool, cells))
    return most and all(found) and any(len(fraction) != 3 for fraction in fractions)


def with_points(name: str) -> pl.Expr:
    """A text column with its numbers as the rest of the world of data writes them; other cells stay as they are."""
    cell = pl.col(name)
    number = cell.str.contains(_WITH_COMMA) | cell.str.contains(_THOUSANDS)
    plain = cell.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return pl.when(number).then(plain).otherwise(cell).alias(name)
