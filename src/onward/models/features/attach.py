"""Histories that carry what a model's feature columns read, so that batches only gather it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from onward.data.dataset import CODED, Dataset
from onward.data.friends import Friends, friends_of, strongest
from onward.data.sequences import Histories
from onward.models.base import Recommender
from onward.models.features.column import Read
from onward.models.features.columns import Column, LinksColumn
from onward.models.features.source import Source
from onward.models.features.time_column import TimeColumn
from onward.models.sequence import SequenceModel

Arrays = dict[str, NDArray[np.generic]]


def histories_for(model: Recommender, dataset: Dataset, histories: Histories | None = None) -> Histories:
    """All users' histories of a dataset, as a model reads them.

    Args:
        histories: the same with another numbering of items; the dataset's own by default.
    """
    histories = dataset.histories if histories is None else histories
    features = model.features if isinstance(model, SequenceModel) else None
    return histories if features is None else with_features(histories, features.columns, Source.of(dataset))


def with_features(histories: Histories, columns: Sequence[Column], source: Source) -> Histories:
    """All users' histories of a dataset with the inputs of fitted columns; a column that it lacks is missing.

    Args:
        histories: of the source, each row one user; perhaps with another numbering of items.
    """
    if not columns:
        return histories
    offered = {(one.owner, one.name) for one in source.offered}
    arrays: Arrays = dict(histories.columns)
    lookups: Arrays = dict(histories.lookups)
    about: Arrays = dict(histories.about)
    events = [column for column in columns if column.owner == "events"]
    for column in events:
        if ("events", column.name) not in offered or column.key not in arrays:
            arrays[column.key] = np.zeros(len(histories.item), dtype=np.int32)
            lookups[column.key] = column.missing(1).numpy()
        elif column.kind in CODED:
            lookups[column.key] = _lookup(column, source.values(column.name))
        elif not isinstance(column, TimeColumn):
            arrays[column.key] = column.read(pl.Series(arrays[column.key]))
    for column in columns:
        if column.owner == "users" and not isinstance(column, LinksColumn):
            there = column.name in source.users.columns
            values = source.users[column.name] if there else pl.Series([None] * source.users.height)
            about[column.key] = column.read(values)
    links = next((column for column in columns if isinstance(column, LinksColumn)), None)
    return replace(
        histories,
        columns=arrays,
        lookups=lookups,
        about=about,
        inputs=tuple(column.key for column in events if not _is_own_time(column)),
        known=tuple(column.key for column in events if column.known_at_request),
        friends=None if links is None else _friends(histories, links, source),
    )


def _friends(histories: Histories, column: LinksColumn, source: Source) -> Friends | None:
    """All users as friends of each other; None where the source has no links."""
    if source.links is None:
        return None
    rows, weights = friends_of(strongest(source.links, column.friends), len(histories))
    return Friends(rows, weights, histories.start, histories.end, column.events)


def links_by_id(dataset: Dataset, model: Recommender) -> pl.DataFrame | None:
    """The links that a model reads: user, friend (String ids) and weight, sorted by user, strongest first.

    None of a model that reads none.
    """
    layer = model.features if isinstance(model, SequenceModel) else None
    if layer is None or layer.links is None or dataset.links is None:
        return None
    kept, ids = strongest(dataset.links, layer.links.friends), dataset.users["user"]
    names = {side: ids.gather(kept[side]) for side in ("user", "friend")}
    return pl.DataFrame({**names, "weight": kept["weight"]})


def _lookup(column: Column, values: pl.Series) -> Read:
    """Row c is what code c stands for to the model. Of actions the codes begin with a name, of others with missing."""
    read = column.read(values)
    return read if column.key == "action" else np.concatenate([column.missing(1).numpy(), read])


def _is_own_time(column: Column) -> bool:
    return isinstance(column, TimeColumn) and column.elapsed
