"""A small log with a feature of every kind, of events, items and users, as models read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from onward.data.sequences import Histories
from onward.models.base import Items
from onward.models.features.attach import with_features
from onward.models.features.columns import Column
from onward.models.features.fit import fit_columns
from onward.models.features.source import Offered, Source

V = 23
"""Items; the last never occurs."""
USERS = 40
OFFERED = [
    Offered("events", "device", "category", "feature.device", known_at_request=True),
    Offered("events", "words", "categories", "feature.words"),
    Offered("events", "price", "number", "feature.price"),
    Offered("events", "sent", "time", "feature.sent"),
    Offered("events", "look", "vector", "feature.look"),
    Offered("events", "action", "category", "action"),
    Offered("events", "value", "number", "value"),
    Offered("events", "time", "time", "time"),
    Offered("items", "color", "category", "items.color"),
    Offered("items", "tags", "categories", "items.tags"),
    Offered("items", "weight", "number", "items.weight"),
    Offered("items", "made", "time", "items.made"),
    Offered("items", "shape", "vector", "items.shape"),
    Offered("users", "town", "category", "users.town"),
    Offered("users", "age", "number", "users.age"),
]
VALUES = {
    "device": pl.Series(["pc", "phone", "tv"]),
    "words": pl.Series([["a"], ["a", "b"], ["b", "c", "d"]]),
    "look": pl.Series([[0.0, 1.0], [1.0, 0.0], [0.5, -2.0]], dtype=pl.List(pl.Float32)),
    "action": pl.Series(["view", "buy"]),
}
HOUR = 3_600_000_000


def make_source(seed: int = 0, groups: bool = False) -> Source:
    """Histories of 1 to 12 events, user 0 without any; every feature is missing here and there."""
    random = np.random.default_rng(seed)
    lengths = np.concatenate([[0, 1], random.integers(2, 13, USERS - 2)])
    end = np.cumsum(lengths)
    n = int(end[-1])
    columns: dict[str, np.ndarray] = {
        "item": random.integers(1, V, n).astype(np.int32),
        "time": 1_600_000_000_000_000 + np.cumsum(random.integers(0, 50 * HOUR, n)),
        "action": random.integers(0, 2, n).astype(np.uint8),
        "value": np.where(random.random(n) < 0.1, np.nan, random.integers(1, 6, n)).astype(np.float32),
        "feature.device": random.integers(0, 4, n).astype(np.int32),
        "feature.words": random.integers(0, 4, n).astype(np.int32),
        "feature.look": random.integers(0, 4, n).astype(np.int32),
        "feature.price": np.where(random.random(n) < 0.2, np.nan, random.lognormal(size=n)).astype(np.float32),
        "feature.sent": 1_500_000_000_000_000 + random.integers(0, 10_000 * HOUR, n),
    }
    if groups:
        columns["group"] = np.cumsum(random.random(n) < 0.6).astype(np.int32)
    items = pl.DataFrame(
        {
            "item": [f"item-{number:02}" for number in range(1, V + 1)],
            "color": [None if number % 7 == 0 else f"c{number % 4}" for number in range(V)],
            "tags": [["x", "y", "z"][: number % 4] for number in range(V)],
            "weight": [None if number % 5 == 0 else float(number) for number in range(V)],
            "made": pl.Series([10_000 * HOUR * number for number in range(V)]).cast(pl.Datetime("us")),
            "shape": pl.Series(random.normal(size=(V, 3)).tolist(), dtype=pl.List(pl.Float32)),
        }
    )
    towns = [None if number % 6 == 0 else f"t{number % 3}" for number in range(USERS)]
    users = pl.DataFrame({"user": range(USERS), "town": towns, "age": random.integers(10, 80, USERS)})
    histories = Histories(columns, end - lengths, end, V)
    return Source(histories, items, users, OFFERED, VALUES.__getitem__)


def training_of(source: Source) -> Histories:
    """All but the last two events of each user."""
    histories = source.histories
    return replace(histories, end=np.maximum(histories.start, histories.end - 2))


def fitted(source: Source, told: bool = False) -> tuple[list[Column], Histories]:
    """All columns fitted on the training part, and all histories as models read them."""
    columns, _ = fit_columns(source, training_of(source), source.offered)
    if told:
        columns = [
            column.model_copy(update={"known_at_request": True}) if column.key == "time" else column
            for column in columns
        ]
    return columns, with_features(source.histories, columns, source)


def items_of(source: Source) -> Items:
    """What models know of the catalog."""
    return Items(training_of(source).item_counts(), np.arange(V + 1, dtype=np.int32))
