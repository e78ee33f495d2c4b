"""What an event table must be: the roles of its columns, their usual names, and what a valid id or value is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from onward.errors import DataError, unknown

REQUIRED = ("user", "item")
OPTIONAL = ("time", "action", "value", "group")
NONE = "none"
"""Given as a column name, it says: take no column for this role, whatever the file has."""

# Compared in lower case without `_`, `-`, spaces and dots; the first that a table has is taken.
USUAL: Mapping[str, str] = {
    "user": "user userid uid customerid customer clientid client householdid household visitorid visitor memberid "
    "member accountid account reviewerid personid subscriberid playerid profileid sessionid session",
    "item": "item itemid iid productid product parentasin asin sku movieid movie articleid article trackid track "
    "songid song artistid artist bookid book isbn videoid video poi poiid placeid venueid businessid offerid "
    "contentid newsid gameid appid",
    "time": "timestamp time ts datetime eventtime eventtimestamp eventdate transactiontimestamp createdat "
    "unixreviewtime unixtime ratedat playedat purchasedat date",
    "action": "action actiontype event eventtype behavior behaviour behaviortype interaction interactiontype",
    "value": "value rating overall stars score quantity weight playcount plays dwell dwelltime watchtime",
    "group": "group basketid basket orderid invoiceid invoiceno invoice transactionid receiptid",
}


def find_roles(columns: Sequence[str], given: Mapping[str, str | None], where: str) -> dict[str, str]:
    """Which column plays which role: those given by name, the others found among the usual names.

    Args:
        given: role -> column, None to look for it, or "none" for no column (optional roles).
        where: name of the table, for messages.

    Raises:
        DataError: a column that isn't there (with the nearest), no column for the user or the item, or one column
            given two roles.
    """
    roles = {role: name for role, name in given.items() if name is not None and name != NONE}
    for role in REQUIRED:
        if given.get(role) == NONE:
            raise DataError(f"the {role} column can't be '{NONE}'", f"name it: --{role} COLUMN")
    for name in roles.values():
        check_column(name, columns, where)
    twice = [name for name in roles.values() if list(roles.values()).count(name) > 1]
    if twice:
        raise DataError(f"column '{twice[0]}' is given two roles: {[r for r, n in roles.items() if n == twice[0]]}")
    for role in (*REQUIRED, *OPTIONAL):
        found = usual_column(role, [name for name in columns if name not in roles.values()])
        if given.get(role) is None and found is not None:
            roles[role] = found
    for role in REQUIRED:
        if role not in roles:
            raise DataError(
                f"{where}: no column for the {role} among {some(columns)}",
                f"name it: --{role} COLUMN (found by itself: {', '.join(USUAL[role].split()[:6])}...)",
            )
    return {role: roles[role] for role in (*REQUIRED, *OPTIONAL) if role in roles}


def some(columns: Sequence[str], most: int = 20) -> str:
    """Names for a message, the first ones where there are many."""
    more = f" and {len(columns) - most:,} more" if len(columns) > most else ""
    return ", ".join(map(repr, columns[:most])) + more


def usual_column(role: str, columns: Sequence[str]) -> str | None:
    """The column whose name is usual for a role, or None."""
    return first_named(USUAL[role].split(), columns)


def first_named(usual: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column that has the first of some plain names, or None."""
    plain = {re.sub(r"[\W_]", "", name).lower(): name for name in reversed(columns)}
    return next((plain[name] for name in usual if name in plain), None)


def check_column(name: str, columns: Sequence[str], where: str) -> None:
    """Raise DataError, with the nearest name, when a table lacks a column."""
    if name not in columns:
        raise DataError(f"{where}: {unknown('column', name, columns)}")


def check_id_type(dtype: pl.DataType, column: str, where: str) -> None:
    """Raise DataError when a column's type can't hold ids."""
    if dtype.is_float() or dtype.is_decimal():
        raise DataError(
            f"{where}: column '{column}' holds floats ({dtype}), and a float is not an id",
            "42.0 is a whole number that something upstream turned into a float (pandas does where a value is "
            "missing): write the ids as integers or as text",
        )
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise DataError(
            f"{where}: column '{column}' has type {dtype}, which can't be an id", "ids are text or integers"
        )


# 42.0, and R's way to write 100000: 1e+05
_FLOAT = r"^[+-]?\d+(\.0+|(\.\d+)?[eE]\+\d+)$"


def read_ids(ids: pl.Series, role: str, untyped: bool) -> tuple[pl.Series, pl.Series | None]:
    """Ids as text: (ids, reasons), reasons being null where the id is good, or None where all are.

    Integers become their decimals. In `untyped` text, a number written as a float is refused row by row.
    """
    text = ids.cast(pl.String)
    missing = text.is_null() | (text == "")
    # one search for a character that every such number has keeps the pattern off most columns
    floats = text.str.contains(r"\.0|[eE]\+") if untyped and text.len() else None
    if floats is not None and floats.any():
        floats = text.str.contains(_FLOAT)
    return text, reasons(text.len(), {f"missing {role}": missing, f"{role} is a float": floats})


def read_values(values: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Numbers as float32 with NaN where missing: (values, reasons)."""
    numbers = values.cast(pl.Float32, strict=False) if values.dtype != pl.String else _text_numbers(values)
    unreadable = (numbers.is_null() & values.is_not_null()) | numbers.is_infinite()
    return numbers.fill_null(float("nan")), reasons(values.len(), {"unreadable value": unreadable})


def _text_numbers(values: pl.Series) -> pl.Series:
    return values.str.strip_chars().cast(pl.Float32, strict=False)


def check_value_type(dtype: pl.DataType, column: str, where: str) -> None:
    """Raise DataError when a column's type can't hold numbers."""
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Null)):
        raise DataError(f"{where}: column '{column}' has type {dtype}, which can't be a value", "values are numbers")


def reasons(size: int, marks: Mapping[str, pl.Series | None]) -> pl.Series | None:
    """The first reason that holds for each row, null where none does; None when none holds anywhere."""
    found: pl.Series | None = None
    for reason, mark in marks.items():
        if mark is None or not mark.any():
            continue
        text = pl.select(pl.when(mark).then(pl.lit(reason))).to_series()
        found = text if found is None else found.fill_null(text)
    return found


def first_reasons(found: Sequence[pl.Series | None]) -> pl.Series | None:
    """The first reason of each row over several checks; None when there is none at all."""
    some = [series for series in found if series is not None]
    return pl.select(pl.coalesce(some)).to_series() if some else None
