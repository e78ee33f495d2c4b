"""Features at serving: what stored or typed events tell a model beside their items, and what comes with a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.dataset import FEATURE
from onward.data.sequences import Ints
from onward.models.base import Recommender
from onward.models.features.category_column import CategoryColumn
from onward.models.features.column import UNKNOWN
from onward.models.features.columns import Column
from onward.models.features.number_column import NumberColumn
from onward.models.sequence import SequenceModel
from onward.serve.lists.items import json_column

_TYPES: Mapping[str, pl.DataType] = {
    "category": pl.String(),
    "categories": pl.List(pl.String),
    "number": pl.Float64(),
    "text": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "vector": pl.List(pl.Float32),
}


class FeatureReader:
    """Reads for one model; for one without features there is nothing to read.

    Attributes:
        timed: whether the times of events, or of the request, are features.
        named: whether events are asked for what else they say of themselves: features by their names.
        inputs: names of the columns that `of_actions`, `of_values` and `of_events` give.
    """

    def __init__(self, model: Recommender) -> None:
        layer = model.features if isinstance(model, SequenceModel) else None
        past = [] if layer is None or layer.events is None else layer.events.columns
        asked = [] if layer is None or layer.request is None else layer.request.columns
        self.action = next((one for one in past if one.key == "action" and isinstance(one, CategoryColumn)), None)
        self._value = next((one for one in past if one.key == "value" and isinstance(one, NumberColumn)), None)
        self._named: list[Column] = [column for column in past if column.key.startswith(FEATURE)]
        self._asked: list[Column] = [column for column in asked if column.key != "time"]
        self.timed = any(column.key == "time" for column in [*past, *asked])
        self.named = bool(self._named)
        own = [one.key for one in (self.action, self._value) if one is not None]
        self.inputs = (*own, *(column.key for column in self._named))

    def of_events(
        self,
        actions: Sequence[str | None],
        values: NDArray[np.float32],
        features: Sequence[Mapping[str, JsonValue]],
        lengths: Ints,
    ) -> tuple[dict[str, NDArray[np.generic]], Ints]:
        """Columns of the events of several histories, and (B,) int64 how many of each one's values training didn't
        have.

        Args:
            actions: (n,) name or None, of all events. values: (n,), NaN where missing.
            features: of each event, name -> value; empty where `named` is false.
            lengths: (B,) events of each history.
        """
        columns: dict[str, NDArray[np.generic]] = {}
        unknown = np.zeros(len(lengths), dtype=np.int64)
        given: list[tuple[Column, pl.Series]] = []
        if self.action is not None:
            given.append((self.action, pl.Series(actions, dtype=pl.String)))
        given += [(one, _series([known.get(one.name) for known in features], one.kind)) for one in self._named]
        for column, series in given:
            columns[column.key] = read = column.read(series)
            unknown += _unknown(column, read, lengths)
        if self._value is not None:
            columns["value"] = self._value.read(pl.Series(values))
        return columns, unknown

    def of_requests(self, contexts: Sequence[Mapping[str, JsonValue]]) -> tuple[dict[str, NDArray[np.generic]], Ints]:
        """(B, ...) what is known of requests by feature name: of their users, and of the event to come; and (B,) int64
        how many of each one's values training didn't have."""
        columns: dict[str, NDArray[np.generic]] = {}
        unknown = np.zeros(len(contexts), dtype=np.int64)
        for column in self._asked:
            columns[column.key] = read = column.read(_series([one.get(column.name) for one in contexts], column.kind))
            unknown += _unknown(column, read, np.ones(len(contexts), dtype=np.int64))
        return columns, unknown


def _series(values: Sequence[JsonValue], kind: str) -> pl.Series:
    """Values as a column of a kind; times are ISO 8601 or microseconds UTC, and what doesn't fit is missing."""
    if kind != "time":
        return json_column(values, _TYPES[kind])
    texts = json_column([value if isinstance(value, str) else None for value in values], _TYPES[kind]).cast(pl.Int64)
    whole = [value if isinstance(value, int) and not isinstance(value, bool) else None for value in values]
    return texts.fill_null(pl.Series(whole, dtype=pl.Int64, strict=False))


def _unknown(column: Column, read: NDArray[np.generic], lengths: Ints) -> Ints:
    """(B,) int64 categories that training didn't have, of runs of such lengths."""
    if not isinstance(column, CategoryColumn):
        return np.zeros(len(lengths), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum((read == UNKNOWN).sum(axis=1))])
    ends = np.cumsum(lengths)
    unknown: Ints = before[ends] - before[ends - lengths]
    return unknown
