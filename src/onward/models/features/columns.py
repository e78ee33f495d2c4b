"""A fitted column of any kind, and what `features.json` of a bundle holds. Legend as in `column.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, TypeAdapter
from torch import Tensor

from onward.models.features.category_column import CategoryColumn
from onward.models.features.column import ColumnBase, Expanded, Read
from onward.models.features.number_column import NumberColumn
from onward.models.features.time_column import TimeColumn
from onward.models.features.vector_column import VectorColumn


class LinksColumn(ColumnBase):
    """The friends of a user, whose recent events a state takes in (`friends.py`); batches carry them beside columns."""

    kind: Literal["links"] = "links"
    """Kind."""
    friends: int = Field(ge=1)
    """Friends of a user who are read, at most, by the strongest links."""
    events: int = Field(ge=1)
    """Events of a friend that are read, at most, the newest."""

    def read(self, values: pl.Series) -> Read:
        """(n, 0): links are no values of a column."""
        return np.zeros((len(values), 0), dtype=np.float32)

    def expand(self, read: Tensor) -> Expanded:
        """As in the base class."""
        return None, None

    def _how(self) -> str:
        return f"attention over the newest {self.events} events of up to {self.friends} friends"


Column = Annotated[CategoryColumn | NumberColumn | TimeColumn | VectorColumn | LinksColumn, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(list[Column])


def parse_columns(values: Any) -> list[Column]:
    """Fitted columns of plain values. Raises pydantic's ValidationError, which is a ValueError."""
    found: list[Column] = _ADAPTER.validate_python(values)
    return found


def dump_columns(columns: list[Column]) -> list[Mapping[str, Any]]:
    """Plain values of fitted columns."""
    dumped: list[Mapping[str, Any]] = _ADAPTER.dump_python(columns, mode="json")
    return dumped
