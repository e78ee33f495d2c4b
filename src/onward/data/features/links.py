"""Links between users: who is a friend of whom, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from onward.data.features.cells import Place, read_numbers
from onward.data.readers import Source
from onward.data.schema import check_id_type, first_named, read_ids, some, usual_column
from onward.errors import DataError

FROM = ("user1", "userid1", "follower", "followerid", "truster", "trusterid", "source", "src", "from")
TO = ("friend", "friendid", "user2", "userid2", "followee", "followeeid", "trustee", "trusteeid", "target", "dst", "to")
"""Usual names of the two columns, beside those of a user; the weight's are "weight" and "strength"."""
LINKS = {"user": pl.Int32, "friend": pl.Int32, "weight": pl.Float32}


@dataclass(frozen=True)
class Links:
    """Links as stored.

    Attributes:
        frame: user, friend (Int32 rows), weight (Float32), sorted; None without a table.
        notes: sentences about what was found.
        rejected: rows that can't be used, as in rejected.parquet.
    """

    frame: pl.DataFrame | None = None
    notes: list[str] = field(default_factory=list)
    rejected: list[pl.DataFrame] = field(default_factory=list)


def read_links(sources: Sequence[Source], given: str, users: pl.Series, every: pl.Series, allow: bool) -> Links:
    """Read tables of links: a user, a friend, and a weight (1 where there is no such column).

    Args:
        given: name of the log's user column.
        users: ids of the users that are kept, in index order.
        every: ids of all users of the log, those that filters left out among them.
        allow: set rows that can't be used aside; they are an error otherwise.

    Raises:
        DataError: columns that can't be found, an id that is missing or no user of the log, a user linked to itself, a
            weight that isn't above 0, one pair with two weights; names table, row and column.
    """
    if not sources:
        return Links()
    parts, rejected = [], []
    for source in sources:
        part, bad = _read(source, given, every, allow)
        parts.append(part)
        rejected += bad
    every_link = pl.concat(parts)
    _check_pairs(every_link)
    frame = every_link.select("user", "friend", "weight").unique(maintain_order=True)
    row = pl.DataFrame({"id": users, "at": pl.Series(range(users.len()), dtype=pl.Int32)})
    for side in ("user", "friend"):
        joined = frame.join(row, left_on=side, right_on="id", how="left", maintain_order="left")
        frame = joined.with_columns(pl.col("at").alias(side)).drop("at")
    gone = frame.select((pl.col("user").is_null() | pl.col("friend").is_null()).sum()).item()
    frame = frame.drop_nulls().sort("user", "friend").select(pl.col(name).cast(kind) for name, kind in LINKS.items())
    notes = [f"{frame.height:,} links among {frame['user'].n_unique():,} users"]
    if gone:
        notes.append(f"{gone:,} links of users that the filters left out are left out too")
    return Links(frame, notes, rejected)


def _read(source: Source, given: str, every: pl.Series, allow: bool) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    columns = _columns(source, given)
    table = source.table()
    for role in ("user", "friend"):
        check_id_type(source.dtypes[columns[role]], columns[role], source.name)
    users, friends = (read_ids(table[columns[role]], role, source.untyped)[0] for role in ("user", "friend"))
    weight = pl.repeat(1.0, table.height, dtype=pl.Float64, eager=True)
    if "weight" in columns:
        place = Place(source.name, "users", columns["weight"], 1)
        weight = read_numbers(table[columns["weight"]], place).fill_null(1.0)
    known = [ids.is_in(every.implode()).fill_null(False) for ids in (users, friends)]
    why = pl.select(
        pl.when(users.is_null() | (users == ""))
        .then(pl.lit("missing user"))
        .when(friends.is_null() | (friends == ""))
        .then(pl.lit("missing friend"))
        .when(~known[0])
        .then(pl.lit("a user without events"))
        .when(~known[1])
        .then(pl.lit("a friend without events"))
        .when(users == friends)
        .then(pl.lit("a link to oneself"))
        .when(weight <= 0)
        .then(pl.lit("a weight that is not above 0"))
    ).to_series()
    frame = pl.DataFrame({"user": users, "friend": friends, "weight": weight.cast(pl.Float32)})
    frame = frame.with_columns(pl.lit(source.name).alias("file"), pl.Series("row", range(1, table.height + 1)))
    bad = frame.with_columns(why.alias("reason")).filter(why.is_not_null())
    if not bad.height:
        return frame, []
    side = pl.when(pl.col("reason").str.contains("friend|oneself")).then("friend").otherwise("user")
    value = pl.when(pl.col("reason").str.contains("weight")).then(pl.col("weight").cast(pl.String)).otherwise(side)
    bad = bad.select("file", "row", "reason", value.alias("value"))
    if not allow:
        raise _error(bad, columns)
    return frame.filter(why.is_null()), [bad]


def _columns(source: Source, given: str) -> dict[str, str]:
    names = source.columns
    user = given if given in names else first_named(FROM, names) or usual_column("user", names)
    friend = first_named(TO, [name for name in names if name != user])
    if user is None or friend is None:
        raise DataError(
            f"{source.name}: no {'user' if user is None else 'friend'} column among {some(names)}",
            "name the columns user, friend and, where there is one, weight",
        )
    weight = first_named(("weight", "strength"), [name for name in names if name not in (user, friend)])
    return {"user": user, "friend": friend} | ({} if weight is None else {"weight": weight})


def _error(bad: pl.DataFrame, columns: dict[str, str]) -> DataError:
    file, row, reason, value = bad.row(0)
    role = "weight" if "weight" in reason else "friend" if "friend" in reason or "oneself" in reason else "user"
    more = f", and there are {bad.height - 1:,} more rows that can't be used" if bad.height > 1 else ""
    return DataError(
        f"{file} row {row}: column '{columns[role]}' is {reason}: '{value or ''}'{more}",
        "links are between users of the log; mend the table, or leave such rows out with --allow-rejected",
    )


def _check_pairs(links: pl.DataFrame) -> None:
    differ = links.filter(pl.col("weight").n_unique().over("user", "friend") > 1)
    if not differ.height:
        return
    first = differ.row(0, named=True)
    second = differ.filter(
        (pl.col("user") == first["user"])
        & (pl.col("friend") == first["friend"])
        & (pl.col("weight") != first["weight"])
    ).row(0, named=True)
    raise DataError(
        f"{second['file']} row {second['row']}: column 'weight' of '{first['user']}' and '{first['friend']}' is "
        f"{second['weight']:g}, and {first['weight']:g} in row {first['row']} of {first['file']}",
        "keep one row a pair",
    )
