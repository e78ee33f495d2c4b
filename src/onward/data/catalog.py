"""The catalog: item id <-> index, titles and features.

Row r of the frame is item index r + 1; index 0 is padding and never an item. Indices are never renumbered.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.errors import ConfigError, DataError, unknown

TITLE_COLUMNS = ("title", "name", "item_name", "movie_title", "product_name")
YEAR_COLUMNS = ("year", "release_year")
SAME_COLUMN = (("genre", "genres", "class"), ("category", "categories"))
"""Names that mean the same column to people; MovieLens' atomic files call genres `class`."""
MANY_ITEMS = 20_000
"""Above this, only names with the same first letter are searched for near ones."""


class Catalog:
    """The items of a data set or a model.

    Args:
        frame: column `item` (unique ids, text) first, then any feature columns.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        if not frame.columns or frame.columns[0] != "item":
            raise DataError(f"a catalog's first column is 'item', not {frame.columns[:1]}")
        self.frame = frame

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def ids(self) -> list[str]:
        """Item ids; position r is index r + 1."""
        return self.frame["item"].to_list()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {item: row + 1 for row, item in enumerate(self.ids)}

    def index(self, ids: Iterable[str]) -> NDArray[np.int32]:
        """Index of each id; 0 for an id that isn't in the catalog."""
        return np.array([self._index.get(item, 0) for item in ids], dtype=np.int32)

    def index_of(self, item: str) -> int:
        """Index of one id; 0 for an id that isn't in the catalog."""
        return self._index.get(item, 0)

    def id(self, index: int) -> str:
        """Id of an item index (1 to len)."""
        return self.ids[index - 1]

    @property
    def title_column(self) -> str | None:
        """The column that people read, where there is one."""
        return next((name for name in TITLE_COLUMNS if name in self.frame.columns), None)

    @cached_property
    def _names(self) -> list[str]:
        """The title column by row, ids where it is missing."""
        if self.title_column is None:
            return self.ids
        column = self.frame[self.title_column].cast(pl.String)
        return column.fill_null("").replace("", None).fill_null(self.frame["item"]).to_list()

    @cached_property
    def titles(self) -> list[str] | None:
        """Titles by row, ids where one is missing; with the year where a column has it. None without titles."""
        if self.title_column is None:
            return None
        years = next((self.frame[name] for name in YEAR_COLUMNS if name in self.frame.columns), None)
        if years is None:
            return self._names
        return [
            f"{name} ({year})" if year and not name.endswith(f"({year})") else name
            for name, year in zip(self._names, years.cast(pl.String).to_list(), strict=True)
        ]

    @cached_property
    def _by_title(self) -> dict[str, int]:
        names = [*(self.titles or []), *(self._names if self.titles else [])]  # full titles come before bare ones
        rows = [*range(len(self)), *range(len(self))]
        return {name.casefold(): row + 1 for name, row in reversed(list(zip(names, rows, strict=False)))}

    @property
    def names(self) -> list[str]:
        """What people read of each item, by row: titles, or ids where the catalog has no titles."""
        return self.titles or self.ids

    def title(self, index: int) -> str:
        """Title of an item index, or its id."""
        return self.names[index - 1]

    def find(self, text: str) -> int:
        """Index of an item by id, or else by title (letter case aside); 0 when there is none."""
        return self._index.get(text) or self._by_title.get(text.casefold(), 0)

    def suggest(self, text: str, n: int = 3) -> list[str]:
        """Titles (or ids) that come close to a text."""
        every = self.names
        # by what a name begins with too: "Godfathr" is near "Godfather, The (1972)"
        names = {re.split("[,:(]", name)[0].strip().casefold(): name for name in reversed(every)}
        names |= {name.casefold(): name for name in reversed(every)}
        wanted = text.casefold()
        inside = [name for name in names if wanted in name][:n]
        some = names if len(names) <= MANY_ITEMS else [name for name in names if name[:1] == wanted[:1]]
        close = difflib.get_close_matches(wanted, some, n=n, cutoff=0.6)
        return list(dict.fromkeys(names[name] for name in inside + close))[:n]

    @cached_property
    def tie_rank(self) -> NDArray[np.int32]:
        """(len + 1,) int32: the order of items of equal score, by a hash of the id, so never by index."""
        digests = [hashlib.blake2b(item.encode(), digest_size=8, key=b"onward").digest() for item in self.ids]
        keys = np.frombuffer(b"".join(digests), dtype=">u8")
        rank = np.zeros(len(self) + 1, dtype=np.int32)
        rank[1 + np.argsort(keys, kind="stable")] = np.arange(1, len(self) + 1, dtype=np.int32)
        return rank

    def matching(self, conditions: Sequence[str]) -> NDArray[np.bool_]:
        """(len + 1,) bool: items that meet every `column=value`; a list or several words match by member.

        Raises ConfigError for an unknown column, or a value that no item has, with the nearest.
        """
        mask = np.ones(len(self) + 1, dtype=np.bool_)
        mask[0] = False
        for condition in conditions:
            column, found, value = (part.strip() for part in condition.partition("="))
            if not found:
                raise ConfigError(
                    f"condition {condition!r} is not of the form column=value",
                    f"columns: {', '.join(self.frame.columns)}",
                )
            mask[1:] &= self._column_equals(column, value)
        return mask

    def _column_equals(self, column: str, value: str) -> NDArray[np.bool_]:
        series, wanted = self.frame[self._column(column)], value.lower()
        if isinstance(series.dtype, pl.List):
            members = series.list.eval(pl.element().cast(pl.String))
            hit = _has(members, wanted)
        else:
            text = series.cast(pl.String)
            members = text.str.split(" ")
            hit = (text.str.to_lowercase() == wanted) | _has(members, wanted)
        hit = hit.fill_null(False)
        if not hit.any():
            values = members.explode().drop_nulls().unique().to_list()
            near = difflib.get_close_matches(value, values, n=3, cutoff=0.6)
            raise ConfigError(
                f"no item has {column} = '{value}'", f"did you mean {' or '.join(map(repr, near))}?" if near else ""
            )
        return hit.to_numpy()

    def _column(self, name: str) -> str:
        """The column of this name, or of another that means the same."""
        same: tuple[str, ...] = next((names for names in SAME_COLUMN if name.lower() in names), ())
        for candidate in (name, name.lower(), *same):
            if candidate in self.frame.columns:
                return candidate
        others = [one for names in SAME_COLUMN if set(names) & set(self.frame.columns) for one in names]
        raise ConfigError(unknown("item column", name, {*self.frame.columns, *others}))


def _has(members: pl.Series, wanted: str) -> pl.Series:
    return members.list.eval(pl.element().str.to_lowercase()).list.contains(wanted)
