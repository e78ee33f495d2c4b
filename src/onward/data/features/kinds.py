"""Kinds of feature columns, what their types say, and their limits."""

from __future__ import annotations

import re
from typing import Literal

import polars as pl

Owner = Literal["events", "items", "users"]
Kind = Literal["category", "categories", "number", "text", "vector", "time"]
"""`categories` is a set of names; `vector` is a list of numbers, of one width throughout a column."""

MAX_VALUES = 2_000_000
"""Different values that an event's category, set, text or vector may have."""
MAX_TEXT = 100_000
"""Bytes of one text."""
MAX_NAME = 180
"""Bytes of a column's name, percent-encoded: it becomes a file's name."""

Family = Literal["flag", "whole", "number", "time", "text", "set", "vector", "empty", "other"]
"""What a type can hold. Texts of files without types may turn out to be anything but `other`."""

SETS = ("genre", "genres", "class", "category", "categories", "tag", "tags", "style", "styles")
"""Columns whose text may hold several names: `A|B`, or `A B` in RecBole's token_seq."""
TEXTS = ("title", "name", "description", "text", "url", "summary")
"""Columns that hold texts rather than categories, when part of their name."""
_CODES = ("id", "ids", "code", "zip", "postcode", "type", "class", "category", "segment", "cluster")
_TIMES = ("time", "timestamp", "date", "datetime", "ts", "at")


def family(dtype: pl.DataType) -> Family:
    """What a column of this type can hold."""
    if dtype == pl.Boolean:
        return "flag"
    if dtype.is_integer():
        return "whole"
    if dtype.is_float() or dtype.is_decimal():
        return "number"
    if dtype in (pl.Datetime, pl.Date):
        return "time"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    if dtype == pl.Null:
        return "empty"
    if isinstance(dtype, pl.List | pl.Array):
        inner = family(dtype.inner)  # type: ignore[arg-type]
        return "vector" if inner == "number" else "set" if inner in ("flag", "whole", "text") else "other"
    return "other"


def plain(name: str) -> str:
    """A name in lower case, letters and digits alone."""
    return re.sub(r"[\W_]", "", name).lower()


def says_code(name: str) -> bool:
    """Whether a column of numbers is, by its name, one of codes: store_id, zipCode."""
    return _last_word(name) in _CODES


def says_time(name: str) -> bool:
    """Whether a column of numbers is, by its name, one of times: created_at."""
    return _last_word(name) in _TIMES


def says_text(name: str) -> bool:
    """Whether a column holds, by its name, texts: product_title."""
    return any(word in name.lower() for word in TEXTS)


def _last_word(name: str) -> str:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)
    return words[-1].lower() if words else ""
