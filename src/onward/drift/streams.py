"""The streams that are watched: from the requests of a walk, or from the lists and events of a server's store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from onward.data.arrays import Ints
from onward.drift.adwin import Floats
from onward.errors import ConfigError, FormatError
from onward.prequential.finish import REQUESTS

LISTS, EVENTS = "impressions.parquet", "events.parquet"
HOUR = 3_600_000_000
HITS = " hr@10"
"""What the names of a walk's columns of hits end with; a policy's name goes before."""


@dataclass(frozen=True)
class Stream:
    """Values in order of time.

    Attributes:
        name: what they are.
        falls: whether only a fall calls for training again, or any change.
        times: (N,) int64 microseconds UTC. values: (N,) in [0, 1].
    """

    name: str
    falls: bool
    times: Ints
    values: Floats


def read_streams(folder: Path, click_hours: float) -> tuple[Literal["walk", "store"], list[Stream]]:
    """The streams of a walk's folder, or of the folder that `onward store export` wrote.

    Raises:
        FormatError: neither is there, or a file can't be read.
        ConfigError: the store has no list that is old enough.
    """
    if (folder / REQUESTS).is_file():
        return "walk", _read(lambda: _of_walk(folder), folder)
    if (folder / LISTS).is_file():
        return "store", _read(lambda: _of_store(folder, click_hours), folder)
    raise FormatError(
        f"{folder} holds neither the requests of a walk nor a store's lists: it has no {REQUESTS} and no {LISTS}",
        "walk first: onward prequential RUN -o walk; or write the store's lists: onward store export -o FOLDER",
    )


def _read(reader: Callable[[], list[Stream]], folder: Path) -> list[Stream]:
    try:
        return reader()
    except pl.exceptions.PolarsError as error:
        raise FormatError(f"{folder} can't be read: {error}", "write it again") from None


def _of_walk(folder: Path) -> list[Stream]:
    """Hits of every policy, and how popular what was asked for had been before the walk."""
    frame = pl.read_parquet(folder / REQUESTS).sort("time", maintain_order=True)
    times = frame["time"].to_numpy()
    policies = [name.removesuffix(HITS) for name in frame.columns if name.endswith(HITS)]
    hits = [Stream(f"hit rate of '{name}'", True, times, frame[f"{name}{HITS}"].to_numpy()) for name in policies]
    return [*hits, Stream("popularity of what is asked for", False, times, frame["popularity"].to_numpy())]


def _of_store(folder: Path, click_hours: float) -> list[Stream]:
    """Clicks on the lists of the model that serves, and how popular what happened had been before its first list.

    A list that can still be clicked is left out: its clicks are missing, and not for good.
    """
    lists = pl.read_parquet(folder / LISTS).with_columns(pl.col("time").dt.epoch("us")).sort("time", "request_id")
    if not lists.height:
        raise ConfigError(f"the store of {folder} logged no list", "see [impressions] in serve.toml: sample above 0")
    served = lists.filter(pl.col("model") == lists["model"][-1])
    first, newest = int(served["time"][0]), int(served["time"][-1])
    events = pl.read_parquet(folder / EVENTS, columns=["time", "item"]).with_columns(pl.col("time").dt.epoch("us"))
    newest = max([newest, *events["time"].top_k(1)])
    settled = served.filter(pl.col("time") <= newest - round(click_hours * HOUR))
    if not settled.height:
        raise ConfigError(
            f"every list of {folder} is younger than {click_hours:g} hours and may still be clicked",
            "wait, or say a shorter --click-hours",
        )
    clicked = (settled["clicked"].list.len() > 0).cast(pl.Float64)
    streams = [Stream("click rate", True, settled["time"].to_numpy(), clicked.to_numpy())]
    before, since = events.filter(pl.col("time") < first), events.filter(pl.col("time") >= first).sort("time")
    if before.height and since.height:
        popular = _popularity(before["item"], since["item"])
        streams.append(Stream("popularity of what happens", False, since["time"].to_numpy(), popular))
    return streams


def _popularity(before: pl.Series, since: pl.Series) -> Floats:
    """(N,) share of the earlier events whose item had fewer of them than each later one's, ties by half."""
    counts = before.value_counts().rename({"count": "events"})
    levels = counts.group_by("events").agg(total=pl.col("events").sum()).sort("events")
    levels = levels.with_columns(share=(pl.col("total").cum_sum() - pl.col("total") / 2) / before.len())
    shares = counts.join(levels, on="events").select("item", "share")
    found = since.to_frame("item").join(shares, on="item", how="left", maintain_order="left")["share"].fill_null(0.0)
    values: Floats = found.to_numpy().astype(np.float64)
    return values
