"""Histories of another data set, or with items that came after the model: what the model knows, and what it doesn't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from onward.data.catalog import Catalog
from onward.data.dataset import Dataset
from onward.data.sequences import Histories


def align(dataset: Dataset, catalog: Catalog) -> tuple[Histories, list[str]]:
    """A data set's histories in a model's item indices, by item id, and the id of each index (less one).

    Ids that the catalog lacks get indices past its end.
    """
    known = catalog.index(dataset.catalog.ids).astype(np.int64)
    unknown = known == 0
    known[unknown] = len(catalog) + 1 + np.arange(unknown.sum())
    table = np.concatenate([[0], known]).astype(np.int32)
    histories = dataset.histories
    columns = dict(histories.columns) | {"item": table[histories.item]}
    ids = [*catalog.ids, *dataset.catalog.frame["item"].filter(pl.Series(unknown)).to_list()]
    return replace(histories, columns=columns, n_items=len(ids)), ids


def known_only(histories: Histories, n_items: int) -> Histories:
    """The same histories without the items past `n_items`, which the model has never heard of."""
    if histories.n_items <= n_items:
        return histories
    known = histories.item <= n_items
    before = np.concatenate([[0], np.cumsum(known)])
    columns = {name: column[known] for name, column in histories.columns.items()}
    return replace(
        histories,
        columns=columns,
        start=before[histories.start],
        end=before[histories.end],
        n_items=n_items,
        friends=None if histories.friends is None else histories.friends.moved(before),
    )
