"""Fitted columns that go on with a log that has grown: values that came since get codes behind those there were.

What is learned stays where it means the same: statistics of numbers, edges of times, encoders of texts and the members
of a set that are read stay as they were fitted, and so do buckets, which take any value. A vocabulary alone grows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onward.data.sequences import Histories
from onward.models.features.category_column import CategoryColumn
from onward.models.features.columns import Column
from onward.models.features.fit import count_values, training_rows, training_values
from onward.models.features.source import Source


def extend_columns(columns: Sequence[Column], source: Source, training: Histories) -> list[Column]:
    """The same columns, each vocabulary with the values of the training part that it lacked at its end.

    The most frequent comes first. A column that the source no longer has stays as it is, and is missing everywhere.
    """
    offered = {(one.owner, one.name): one for one in source.offered}
    rows, extended = training_rows(source, training), []
    for column in columns:
        one = offered.get((column.owner, column.name))
        if isinstance(column, CategoryColumn) and column.vocabulary and one is not None:
            values, counts = training_values(source, training, one, rows)
            there = count_values(one, values, counts)["value"]
            known = set(column.vocabulary)
            new = [value for value in there.to_list() if value not in known]
            column = column.model_copy(update={"vocabulary": [*column.vocabulary, *new]})
        extended.append(column)
    return extended


def extended_embedding(table: Tensor, old: Sequence[Column], new: Sequence[Column]) -> Tensor:
    """A block's table of embeddings for columns that `extend_columns` gave: (codes, D) from (fewer codes, D).

    A new value's row is zero, as that of an unknown one: it says nothing until something is learned of it.
    """
    rows, first = [table[:1]], 1
    for before, after in zip(old, new, strict=True):
        own = max(0, before.codes - 1)
        rows += [table[first : first + own], table.new_zeros(max(0, after.codes - 1) - own, table.shape[1])]
        first += own
    return torch.cat(rows)
