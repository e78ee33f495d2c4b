"""Interest of users in items: for pairs of a table, or for one user and some items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from onward.bundle import Bundle, load_bundle
from onward.data.dataset import Dataset, open_dataset
from onward.data.sequences import Histories, Ints
from onward.errors import DataError
from onward.evaluate.external import align, known_only
from onward.models.features.attach import histories_for
from onward.models.top_k import chunks

NEEDED = ("user", "item")


def predict(
    model: str | Path | Bundle, pairs: pl.DataFrame, dataset: str | Path | Dataset | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """The interest of each user in each item, and notes; a row a pair, in the order given.

    Args:
        pairs: columns `user` and `item`, ids.
        dataset: where users' histories are; by default the dataset that the model was trained on. All of a history
            counts.

    Returns:
        `user`, `item`, `interest` in [0, 1] (float64), and `value` in units of the value column where the model
        learned one. Null for an item that the model doesn't know, counted in the notes. A user without a history is
        answered by what is known of the item.

    Raises:
        ConfigError: the model only ranks.
        DataError: a column is missing, or there is no pair; names it.
        FormatError: the model or the dataset is not sound.
    """
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    if bundle.model.interest_of is None:
        bundle.model.interest(Histories.from_lists([], bundle.model.items.n), np.zeros(0, np.int64))
    pairs = _checked(pairs)
    histories, users = _histories(bundle, dataset)
    names = pairs.select("user").unique(maintain_order=True)
    known_users = pl.DataFrame({"user": users, "row": np.arange(len(users), dtype=np.int64)})
    row = pairs.join(known_users, on="user", how="left", maintain_order="left")["row"].fill_null(-1).to_numpy()
    item = bundle.catalog.index(pairs["item"].to_list()).astype(np.int64)
    answered = bundle.model.items.candidates[item] & (item > 0)
    found = np.full(len(item), np.nan)
    found[answered] = _interest(bundle, histories, row[answered], item[answered])
    notes = []
    if strangers := int((~names["user"].is_in(users.implode())).sum()):
        notes.append(f"users who are not in the dataset, answered as if they had done nothing: {strangers}")
    if missing := int((~answered).sum()):
        notes.append(f"pairs with an item that training never saw, left empty: {missing}")
    frame = pairs.with_columns(pl.Series("interest", found).fill_nan(None))
    if bundle.model.value_range is not None:
        low, high = bundle.model.value_range
        frame = frame.with_columns(value=low + (high - low) * pl.col("interest"))
    return frame, notes


def pairs_of(user: str, items: Sequence[str]) -> pl.DataFrame:
    """One user with each of some items."""
    return pl.DataFrame({"user": [user] * len(items), "item": list(items)})


def read_pairs(file: Path) -> pl.DataFrame:
    """A CSV or Parquet file with the columns `user` and `item`. Raises DataError naming the file."""
    if not file.is_file():
        raise DataError(f"no such file: {file}", "a CSV or Parquet file with the columns user and item")
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        hint = "a CSV or Parquet file with the columns user and item"
        raise DataError(f"{file} can't be read: {error}", hint) from None
    return _checked(frame, str(file))


def _checked(pairs: pl.DataFrame, where: str = "the table of pairs") -> pl.DataFrame:
    for name in NEEDED:
        if name not in pairs.columns:
            raise DataError(f"{where} has no column '{name}'", f"its columns: {', '.join(pairs.columns) or 'none'}")
        if pairs[name].dtype.is_float():
            raise DataError(f"column '{name}' of {where} holds fractions, and ids are text or whole numbers")
        if (nulls := pairs[name].null_count()) > 0:
            first = int(pairs[name].is_null().arg_max() or 0) + 1
            raise DataError(f"column '{name}' of {where} is empty in {nulls} rows, the first of them row {first}")
    if not pairs.height:
        raise DataError(f"{where} has no row")
    return pairs.select(pl.col(name).cast(pl.String) for name in NEEDED)


def _histories(bundle: Bundle, dataset: str | Path | Dataset | None) -> tuple[Histories, pl.Series]:
    """Everyone's history as the model reads it, and their ids."""
    place = dataset if dataset is not None else bundle.config.dataset_path
    data = place if isinstance(place, Dataset) else open_dataset(place)
    if data.manifest.hash == bundle.manifest.dataset:
        return histories_for(bundle.model, data), data.users["user"]
    aligned = histories_for(bundle.model, data, align(data, bundle.catalog)[0])
    return known_only(aligned, len(bundle.catalog)), data.users["user"]


def _interest(bundle: Bundle, histories: Histories, row: Ints, item: Ints) -> NDArray[np.float64]:
    """(n,) interest of users, -1 for one of whom nothing is known, in items."""
    found = np.zeros(len(row))
    nothing = np.zeros(1, dtype=np.int64)
    stranger = replace(histories, start=nothing, end=nothing, at=None, about={}, friends=None)
    with torch.no_grad():
        for whose, where in ((histories, np.flatnonzero(row >= 0)), (stranger, np.flatnonzero(row < 0))):
            for some in chunks(len(where), bundle.model.items.n):
                places = where[some]
                asked = whose.select(np.maximum(row[places], 0))
                found[places] = bundle.model.interest(asked, item[places]).cpu().numpy()
    return found
