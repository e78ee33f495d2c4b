"""Features at serving: what stored or typed events tell a model beside their items, and what comes with a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.data.sequences import Ints
from onward.models.base import Recommender
from onward.models.features.columns import CategoryColumn, Column, NumberColumn
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
        inputs: what `of_events` gives.
    """

    def __init__(self, model: Recommender) -> None:
        layer = model.features if isinstance(model, SequenceModel) else None
        past = [] if layer is None or layer.events is None else layer.events.columns
        asked = [] if layer is None or layer.request is None else layer.request.columns
        self._action = next((one for one in past if one.key == "action" and isinstance(one, CategoryColumn)), None)
        self._value = next((one for one in past if one.key == "value" and isinstance(one, NumberColumn)), None)
        self._asked: list[Column] = [column for column in asked if column.key != "time"]
        self.timed = any(column.key == "time" for column in [*past, *asked])
        self.inputs = tuple(one.key for one in (self._action, self._value) if one is not None)

    def of_events(
        self, actions: Ints, names: Sequence[str], values: NDArray[np.float32]
    ) -> dict[str, NDArray[np.generic]]:
        """Columns of one history's events: (n,) keys of action names (0 and what isn't there: none), (n,) values."""
        columns: dict[str, NDArray[np.generic]] = {}
        if self._action is not None:
            known = np.where(actions < len(names), actions, 0)
            by_key = self._action.read(pl.Series([name or None for name in names] or [None], dtype=pl.String))
            columns["action"] = by_key[known]
        if self._value is not None:
            columns["value"] = self._value.read(pl.Series(values))
        return columns

    def of_requests(self, contexts: Sequence[Mapping[str, JsonValue]]) -> dict[str, NDArray[np.generic]]:
        """(B, ...) what is known of requests by feature name: of their users, and of the event to come."""
        return {
            column.key: column.read(json_column([one.get(column.name) for one in contexts], _TYPES[column.kind]))
            for column in self._asked
        }
