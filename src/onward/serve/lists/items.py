"""The catalog that lists are made from: the model's items, changed and extended at run time by the store's.

An item keeps its index for as long as the model serves: 1 to V are the model's, further ones were added at run time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.catalog import TITLE_COLUMNS, Catalog
from onward.data.sequences import Ints
from onward.models.base import Bools
from onward.serve.store.protocol import EventStore, ItemRecord

_ROW = "\x00row"
"""No feature is called that: the API takes no control characters."""
_UNREAD = -1
_WHOLE = 2.0**53
"""Up to here floats tell whole numbers apart."""


class LiveCatalog:
    """One state of the catalog; `updated` makes the next. Reading is safe from any thread.

    Args:
        model: the bundle's catalog.

    Attributes:
        n_model: V, items of the model.
        version: of the store's run-time catalog.
        available: (N + 1,) bool, items that aren't deleted; place 0 is False.
    """

    def __init__(self, model: Catalog) -> None:
        self._model, self.n_model, self.version = model, len(model), 0
        self._added: dict[str, int] = {}
        self._records: dict[int, ItemRecord] = {}
        self.available: Bools = np.arange(len(model) + 1) > 0

    def updated(self, records: Sequence[ItemRecord], version: int) -> Self:
        """The catalog after some records changed."""
        new = type(self)(self._model)
        new.version, new._added, new._records = version, dict(self._added), dict(self._records)
        for record in records:
            index = self._model.index_of(record.id) or new._added.setdefault(
                record.id, self.n_model + len(new._added) + 1
            )
            new._records[index] = record
        new.available = np.pad(self.available, (0, len(new) + 1 - len(self.available)), constant_values=True)
        for record in records:
            new.available[new.index(record.id)] = not record.deleted
        return new

    def __len__(self) -> int:
        return self.n_model + len(self._added)

    def index(self, item: str) -> int:
        """Index of an id; 0 for one that is in neither catalog."""
        return self._model.index_of(item) or self._added.get(item, 0)

    def indices(self, items: Sequence[str]) -> Ints:
        """(n,) int64 index of each id, as `index` gives it."""
        found = self._model.index(items).astype(np.int64)
        if self._added:
            for place in np.flatnonzero(found == 0).tolist():
                found[place] = self._added.get(items[place], 0)
        return found

    @cached_property
    def _added_ids(self) -> list[str]:
        return list(self._added)

    def id(self, index: int) -> str:
        """Id of an index (1 to N)."""
        return self._model.ids[index - 1] if index <= self.n_model else self._added_ids[index - self.n_model - 1]

    def title(self, index: int) -> str:
        """Title of an index (1 to N), or its id."""
        record = self._records.get(index)
        if record is None:
            return self._model.title(index)
        column = self._model.title_column
        names = TITLE_COLUMNS if column is None else (column, *TITLE_COLUMNS)
        title = next((record.features[name] for name in names if record.features.get(name)), None)
        return str(title) if title is not None else record.id

    def suggest(self, text: str) -> list[str]:
        """Titles (or ids) of the model's items that come close to a text."""
        return self._model.suggest(text)

    def features(self, index: int) -> dict[str, JsonValue]:
        """What is known of an item (1 to N) beside its id, JSON values."""
        record = self._records.get(index)
        if record is not None:
            return record.features
        row = self._model.frame.row(index - 1, named=True)
        return {name: _json(value) for name, value in row.items() if name != "item" and value is not None}

    def added(self) -> list[str]:
        """Ids of the items that the model doesn't have."""
        return self._added_ids

    def to_make(self, records: Sequence[ItemRecord]) -> Ints:
        """(n,) int64 ascending indices of the items whose vectors a model that reads features has to make after these
        records changed: not those of its own items that were deleted."""
        indices = {self.index(record.id) for record in records}
        return np.array(sorted(i for i in indices if i > self.n_model or self.available[i]), dtype=np.int64)

    def rows(self, indices: Ints | Sequence[int]) -> pl.DataFrame:
        """Features of items that were added or changed at run time, a row an index; columns as the model's catalog
        has them, and those that only these items have."""
        base, records = self._model.frame, [self._records[int(index)] for index in indices]
        names = dict.fromkeys([*base.columns[1:], *(name for record in records for name in record.features)])
        names.pop("item", None)  # the ids, whatever a record calls so
        columns = {
            name: json_column([record.features.get(name) for record in records], base.schema.get(name))
            for name in names
        }
        return pl.DataFrame({"item": [record.id for record in records], **columns})

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Features of all items: row r is index r + 1; columns `item` and every feature that any item has."""
        base = self._model.frame
        if not self._records:
            return base
        changed = sorted(self._records)
        over = self.rows(changed).insert_column(0, pl.Series(_ROW, changed))
        rows = base.with_columns((pl.int_range(pl.len()) + 1).alias(_ROW))
        kept = rows.filter(~pl.col(_ROW).is_in(over[_ROW].implode()))
        return pl.concat([kept, over], how="diagonal_relaxed").sort(_ROW).drop(_ROW)


def json_column(values: Sequence[JsonValue], dtype: pl.DataType | None) -> pl.Series:
    """JSON values as a column of the catalog's type, or of what most of them are; what doesn't fit is missing."""
    if dtype is None:
        dtype = _type_of([value for value in values if value is not None])
    if isinstance(dtype, pl.List):
        lists = [None if value is None else value if isinstance(value, list) else [value] for value in values]
        texts = [None if one is None else [_text(member) for member in one if member is not None] for one in lists]
        return pl.Series(texts, dtype=pl.List(pl.String)).cast(dtype, strict=False)
    if dtype == pl.Boolean:
        return pl.Series([value if isinstance(value, bool) else None for value in values], dtype=pl.Boolean)
    if dtype.is_numeric():
        numbers = pl.Series([_number(value) for value in values], dtype=pl.Float64)
        # a category that is a whole number is known by its digits: 7, not 7.0
        whole = dtype.is_integer() and ((numbers == numbers.round()) & (numbers.abs() <= _WHOLE)).all()
        return numbers.cast(pl.Int64) if whole else numbers
    texts_only = pl.Series([None if value is None else _text(value) for value in values], dtype=pl.String)
    if isinstance(dtype, pl.Date):
        return texts_only.str.to_date(strict=False)
    if isinstance(dtype, pl.Datetime):
        return texts_only.str.to_datetime(time_unit=dtype.time_unit, time_zone=dtype.time_zone, strict=False)
    return texts_only


def _type_of(values: Sequence[JsonValue]) -> pl.DataType:
    if any(isinstance(value, list) for value in values):
        return pl.List(pl.String)
    if values and all(isinstance(value, bool) for value in values):
        return pl.Boolean()
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return pl.Float64()
    return pl.String()


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):  # a whole number may have hundreds of digits
        return None


def _json(value: object) -> JsonValue:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return [_json(member) for member in value] if isinstance(value, list) else str(value)


class KeyIndex:
    """From the store's item keys to indices of the live catalog: one array, read on when a new key is met.

    Args:
        store: whose keys.
        catalog: the catalog's state at the start; `recheck` tells of items that came later.
    """

    def __init__(self, store: EventStore, catalog: LiveCatalog) -> None:
        self._store, self._catalog = store, catalog
        self._lock = threading.Lock()
        self._table: NDArray[np.int32] = np.zeros(1, dtype=np.int32)
        self._read(1)

    def lookup(self, keys: Ints) -> NDArray[np.int32]:
        """(n,) int32 index of each key; 0 for an item that the catalog doesn't have."""
        if len(keys) == 0:
            return np.zeros(0, dtype=np.int32)
        if keys.max() >= len(self._table):
            self._read(len(self._table))
        found = self._table[keys]
        unread = found == _UNREAD
        if unread.any():  # a key of a slower writer, committed after larger ones
            self._read(int(keys[unread].min()))
            found = np.maximum(self._table[keys], 0)
        return found

    def recheck(self, catalog: LiveCatalog, ids: Sequence[str]) -> None:
        """Items were added to the catalog: events of theirs count from now on."""
        with self._lock:
            self._catalog = catalog
            keys = self._store.item_keys(ids)
            self._set(keys[keys > 0], [item for item, key in zip(ids, keys.tolist(), strict=True) if key])

    def _read(self, first: int) -> None:
        with self._lock:
            rows = self._store.items_after(first - 1)
            self._set(np.array([key for key, _ in rows], dtype=np.int64), [item for _, item in rows])

    def _set(self, keys: Ints, ids: Sequence[str]) -> None:
        if len(keys) == 0:
            return
        table, size = self._table, int(keys.max()) + 1
        if size > len(table):
            room = max(size, len(table) * 3 // 2)  # so that items which come one by one don't copy it every time
            table = np.pad(table, (0, room - len(table)), constant_values=_UNREAD)
        table[keys] = [self._catalog.index(item) for item in ids]
        self._table = table
