"""The catalog: item id <-> index, titles and features.

Row r of the frame is item index r + 1; index 0 is padding and never an item. Indices are never renumbered.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.errors import ConfigError, DataError

TITLE_COLUMNS = ("title", "name", "item_name", "movie_title", "product_name")


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

    def id(self, index: int) -> str:
        """Id of an item index (1 to len)."""
        return self.ids[index - 1]

    @property
    def title_column(self) -> str | None:
        """The column that people read, where there is one."""
        return next((name for name in TITLE_COLUMNS if name in self.frame.columns), None)

    @cached_property
    def titles(self) -> list[str] | None:
        """Titles by row, ids where one is missing; None without a title column."""
        if self.title_column is None:
            return None
        return [
            title or item
            for title, item in zip(self.frame[self.title_column].cast(pl.String).to_list(), self.ids, strict=True)
        ]

    @cached_property
    def _by_title(self) -> dict[str, int]:
        return {title.casefold(): row + 1 for row, title in reversed(list(enumerate(self.titles or [])))}

    def title(self, index: int) -> str:
        """Title of an item index, or its id."""
        return self.titles[index - 1] if self.titles else self.id(index)

    def find(self, text: str) -> int:
        """Index of an item by id, or else by title (letter case aside); 0 when there is none."""
        return self._index.get(text) or self._by_title.get(text.casefold(), 0)

    def suggest(self, text: str, n: int = 3) -> list[str]:
        """Titles (or ids) that come close to a text."""
        names = {name.casefold(): name for name in reversed(self.titles or self.ids)}
        wanted = text.casefold()
        inside = [name for name in names if wanted in name][:n]
        close = difflib.get_close_matches(wanted, names, n=n, cutoff=0.6)
        return [names[name] for name in dict.fromkeys(inside + close)][:n]

    @cached_property
    def tie_rank(self) -> NDArray[np.int32]:
        """(len + 1,) int32: the order of items of equal score, by a hash of the id, so never by index."""
        digests = [hashlib.blake2b(item.encode(), digest_size=8, key=b"onward").digest() for item in self.ids]
        keys = np.frombuffer(b"".join(digests), dtype=">u8")
        rank = np.zeros(len(self) + 1, dtype=np.int32)
        rank[1 + np.argsort(keys, kind="stable")] = np.arange(1, len(self) + 1, dtype=np.int32)
        return rank

    def matching(self, conditions: Sequence[str]) -> NDArray[np.bool_]:
        """(len + 1,) bool: items that meet every `column=value`; a list or several words match by member."""
        mask = np.ones(len(self) + 1, dtype=np.bool_)
        mask[0] = False
        for condition in conditions:
            column, found, value = (part.strip() for part in condition.partition("="))
            if not found:
                raise ConfigError(f"condition {condition!r} is not of the form column=value")
            mask[1:] &= self._column_equals(column, value)
        return mask

    def _column_equals(self, column: str, value: str) -> NDArray[np.bool_]:
        if column not in self.frame.columns:
            from onward.errors import unknown

            raise ConfigError(unknown("item column", column, self.frame.columns))
        series = self.frame[column]
        if isinstance(series.dtype, pl.List):
            hit = series.list.eval(pl.element().cast(pl.String).str.to_lowercase()).list.contains(value.lower())
        else:
            text = series.cast(pl.String).str.to_lowercase()
            hit = (text == value.lower()) | text.str.split(" ").list.contains(value.lower())
        return hit.fill_null(False).to_numpy()
