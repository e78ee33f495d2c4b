"""A dataset as it was at an earlier instant: nothing in the folder came later, so nothing that reads it can know it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from onward.config import dump_toml
from onward.data.arrays import Ints, distinct
from onward.data.columns import Columns, file_name
from onward.data.dataset import CODED, FEATURE, SEGMENT, Dataset, Manifest
from onward.data.facts import find_facts
from onward.data.features.links import Links
from onward.data.order import Ordered
from onward.data.tables import Joined, Tables
from onward.data.write import write_tables
from onward.errors import ConfigError
from onward.files import atomic_folder


def write_as_of(dataset: Dataset, until: int, folder: str | Path) -> Dataset:
    """Write the events strictly before an instant as a dataset of their own.

    Users and items without such an event are left out, as are the values of event features that came later; ids keep
    their order. What has no time is as it is now: features of items and users, links, and the decision whether seen
    items may be recommended again, so that all such datasets are measured alike.

    Args:
        until: microseconds UTC.
        folder: the new dataset.

    Raises:
        ConfigError: the data has no times, or no event is that early.
        OutputError: the folder exists or can't be written.
    """
    data = dataset.histories
    if data.time is None:
        raise ConfigError("what was known at an instant needs event times, and this data set has none")
    owner, positions = data.positions()
    earlier = np.asarray(data.time[positions] < until)
    owner, positions = owner[earlier], positions[earlier]
    if not len(positions):
        raise ConfigError(f"no event of {dataset.path} is before {until}", "choose a later instant")
    users, rows = np.unique(owner, return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows))])
    columns: Columns = {name: np.asarray(column)[positions] for name, column in data.columns.items()}
    items, codes = np.unique(columns["item"], return_inverse=True)
    columns["item"] = (codes + 1).astype(np.int32)
    values = {name: _values(dataset, name, columns) for name in _coded(dataset.manifest)}
    with atomic_folder(folder) as made:
        events = made / SEGMENT / "events"
        events.mkdir(parents=True)
        for name, column in {**columns, "offsets": offsets}.items():
            np.save(events / f"{file_name(name)}.npy", column)
        manifest = _write(made, dataset, columns, offsets, users, items.astype(np.int64) - 1, values, until)
        (made / "dataset.toml").write_text(dump_toml(manifest), encoding="utf-8")
    return Dataset(Path(folder), manifest)


def _coded(manifest: Manifest) -> list[str]:
    return [name for name, kind in manifest.event_features.items() if kind in CODED]


def _values(dataset: Dataset, name: str, columns: Columns) -> pl.Series:
    """The values of an event feature that occur in some events, whose codes are numbered anew."""
    key = f"{FEATURE}{name}"
    used = distinct(columns[key])
    used = used[used > 0]
    columns[key] = np.where(columns[key] > 0, np.searchsorted(used, columns[key]) + 1, 0).astype(columns[key].dtype)
    return dataset.event_values(name).gather(used - 1)


def _write(
    made: Path,
    dataset: Dataset,
    columns: Columns,
    offsets: Ints,
    users: Ints,
    items: Ints,
    values: dict[str, pl.Series],
    until: int,
) -> Manifest:
    """Write everything beside the event arrays; `users` and `items` are the rows that are kept."""
    old = dataset.manifest
    tables = Tables(
        Joined(dataset.catalog.frame[items], old.item_features, [], []),
        Joined(dataset.users[users], old.user_features, [], []),
    )
    ordered = Ordered(
        columns,
        offsets,
        tables.users.frame["user"],
        tables.items.frame["item"],
        old.actions,
        old.unsorted_rows,
        duplicate_rows=0,
        filtered=0,
        values=values,
    )
    rejected = pl.read_parquet(dataset.segment / "rejected.parquet").clear()
    linked = Links(_links(dataset, users))
    facts = find_facts(columns, offsets, len(items))
    about: dict[str, object] = {
        "users": len(users),
        "items": len(items),
        "events": int(offsets[-1]),
        "time_min": facts.time_min,
        "time_max": facts.time_max,
        "tie_share": facts.tie_share,
        "repeat_share": facts.repeat_share,
        "duplicate_rows": 0,
        "decisions": [f"the events of dataset {old.hash[:12]} before {until} (microseconds UTC)"],
    }
    about |= write_tables(made, rejected, ordered, tables, linked)
    return Manifest.parse({**old.model_dump(), **about})


def _links(dataset: Dataset, users: Ints) -> pl.DataFrame | None:
    """Links between users that are kept, in their new rows."""
    if dataset.links is None:
        return None
    row = pl.DataFrame({"was": users, "now": np.arange(len(users))}).cast(pl.Int32)
    kept = dataset.links
    for side in ("user", "friend"):
        kept = kept.join(row, left_on=side, right_on="was", maintain_order="left").with_columns(
            pl.col("now").alias(side)
        )
        kept = kept.drop("now")
    return kept.select("user", "friend", "weight") if kept.height else None
