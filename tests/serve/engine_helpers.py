"""A small shop, models of it that need no training, and stores with its events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

from onward.bundle import Bundle, load_bundle, write_bundle
from onward.config import RunConfig, SplitConfig
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.serve.lists.engine import Answer, Engine
from onward.serve.models.folder import load_model
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import Event, EventStore

ITEMS = 60
USERS = 40
GENRES = ("comedy", "drama", "horror")
LONG = 25
"""Events of the longest history, more than the sequence models read."""
START = 1_600_000_000


def item_table() -> pl.DataFrame:
    """Items 0 to 59: two genres in turn for every third, no genre for item 7, no price for items above 49."""
    number = range(ITEMS)
    genres = [f"{GENRES[n % 3]}|{GENRES[(n + 1) % 3]}" if n % 3 == 0 else GENRES[n % 3] for n in number]
    return pl.DataFrame(
        {
            "item": [str(n) for n in number],
            "title": [f"Item {n}" for n in number],
            "genre": [None if n == 7 else genre for n, genre in zip(number, genres, strict=True)],
            "price": [float(n) if n < 50 else None for n in number],
            "brand": [f"The {'North' if n % 2 else 'South'} Shop" for n in number],
        }
    )


def shop(folder: Path, times: bool = True, ties: bool = False) -> Dataset:
    """Histories of 3 to 25 events; items 55 to 59 are in that of the last user alone, who is in no training."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, LONG + 1, USERS + 1)
    lengths[0], lengths[-1] = LONG, 5
    users = np.repeat([*range(USERS), 99], lengths)  # 99 comes last in the order of bytes too
    frame = pl.DataFrame(
        {
            "user": users,
            "item": np.concatenate([rng.zipf(1.5, len(users) - 5) % 55, np.arange(55, 60)]),
            "time": START + np.arange(len(users)) // (2 if ties else 1) * 3_600,
            "rating": rng.integers(1, 6, len(users)).astype(np.float64),
        }
    )
    frame = frame if times else frame.drop("time")
    return prepare(frame, folder, items=item_table(), value="rating", group_ties=ties)


def make_bundle(
    folder: Path, data: Dataset, name: str = "sasrec", request_time: str = "none", **settings: object
) -> Bundle:
    """A bundle of a model with random weights, or a fitted one where a model isn't trained by the loop."""
    torch.manual_seed(0)
    cls, training = model_class(name), data.histories.select(slice(0, USERS))
    model = build(cls, settings, make_items(training, data.catalog.tie_rank))
    if cls.traits.trainable:
        model.start_training(training)  # type: ignore[attr-defined]
        for parameter in model.parameters():  # type: ignore[attr-defined]
            torch.nn.init.normal_(parameter, std=0.2)
    else:
        model.fit(training)
    split = SplitConfig(protocol="all", request_time=request_time)  # type: ignore[arg-type]
    config = RunConfig(dataset=data.manifest.hash, split=split, model={"name": name, **model.config.model_dump()})
    return load_bundle(write_bundle(folder, model, data.catalog, config, data.manifest, {}))


def make_engine(bundle: Bundle, store: EventStore, settings: ServeConfig | None = None) -> Engine:
    """An engine of a bundle."""
    chosen = settings or ServeConfig()
    return Engine(load_model("shop", bundle.path, chosen), store, chosen)


def fill(store: EventStore, data: Dataset, users: Sequence[int] | None = None) -> None:
    """A data set's events into a store, under the users' own ids."""
    histories, ids = data.histories, data.catalog.ids
    names = data.users["user"].to_list()
    value = histories.columns.get("value")
    events = [
        Event(
            id=f"{user}-{place}",
            user=names[user],
            item=ids[histories.item[place] - 1],
            time=int(START * 1e6 + place) if histories.time is None else int(histories.time[place]),
            value=None if value is None or np.isnan(value[place]) else float(value[place]),
        )
        for user in (users if users is not None else range(len(names)))
        for place in range(int(histories.start[user]), int(histories.end[user]))
    ]
    store.append(events)


def items(answer: Answer) -> list[str]:
    """Ids of a list."""
    return [one.item for one in answer.items]
