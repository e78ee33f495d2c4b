"""Small models of every name in the registry, trained on small logs: what the contract is checked on.

The models are those of the registry when this module is imported.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch
from torch import Tensor

from onward.config import TrainConfig
from onward.data.catalog import Catalog
from onward.data.dataset import Manifest
from onward.data.sequences import Histories
from onward.models import registry
from onward.models.base import Items, Recommender, build
from onward.models.registry import MODELS
from onward.models.sequence import SequenceModel

V = 23
"""Items of the mixed log; no tensor of the models has this size plus one for another reason."""
UNSEEN = 23
"""An item that no training event has."""
SMALL = {"width": 16, "dropout": 0.1, "max_length": 40}
SETTINGS: dict[str, dict[str, object]] = {"als": {"factors": 8, "regularization": 1.0}}
REPEAT = "+repeat"
"""Ends the name of a model that is set to repeat items of the history."""


def model_class(name: str) -> type[Recommender]:
    return registry.model_class(name.removesuffix(REPEAT))


ALL = [*MODELS, "sasrec" + REPEAT, "gru" + REPEAT]
TRAINABLE = [name for name in ALL if model_class(name).traits.trainable]
FITTED = [name for name in ALL if name not in TRAINABLE]


def make_catalog(n: int) -> Catalog:
    return Catalog(pl.DataFrame({"item": [f"item-{number:03}" for number in range(1, n + 1)]}))


KINDS = {"block": "category", "words": "categories", "place": "vector"}


def make_table(n: int) -> pl.DataFrame:
    """Features of items: what block of ten they are of, words that they share with their neighbours, a vector."""
    number = list(range(n))
    return make_catalog(n).frame.with_columns(
        block=pl.Series([f"block {one // 10}" for one in number]),
        words=pl.Series([[f"word {one // 10} {one % 3}", f"word {one // 10} {one % 4}"] for one in number]),
        place=pl.Series([[float(np.cos(one // 10)), float(np.sin(one // 10)), 0.3 * one / n] for one in number]),
    )


def learn(
    name: str,
    training: Histories,
    tie_rank: np.ndarray,
    seed: int = 0,
    epochs: int = 3,
    table: pl.DataFrame | None = None,
) -> Recommender:
    """A small model of this name, trained as its traits say."""
    cls = model_class(name)
    settings = {**SMALL, "repeat": name.endswith(REPEAT)} if cls.traits.trainable else SETTINGS.get(name, {})
    torch.manual_seed(seed)
    table = make_table(training.n_items) if table is None else table
    model = build(cls, settings, Items(training.item_counts(), tie_rank, table, KINDS))
    if not cls.traits.trainable:
        model.fit(training, seed)
        return model
    assert isinstance(model, SequenceModel)
    from onward.train.display import Display
    from onward.train.loop import train_model

    config = TrainConfig(epochs=epochs, learning_rate=0.02, warmup_steps=5, batch_tokens=256)
    with TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        train_model(model, training, None, config, seed, Path(folder), Display("", shown=False))
    return model


def mixed() -> Histories:
    """Histories of 0 to 30 events over items 1 to 22, with times and groups; item 23 never occurs."""
    random = np.random.default_rng(5)
    lengths = np.concatenate([[0, 1, 2, 30], random.integers(1, 20, 60)])
    end = np.cumsum(lengths)
    total = int(end[-1])
    item = 1 + random.choice(V - 1, total, p=np.arange(1, V) / np.arange(1, V).sum())
    return Histories(
        {
            "item": item.astype(np.int32),
            "time": np.arange(total, dtype=np.int64) * 1_000_000,
            "group": np.cumsum(random.random(total) < 0.6).astype(np.int32),
            "value": random.integers(1, 6, total).astype(np.float32),
        },
        end - lengths,
        end,
        V,
    )


def without_groups(data: Histories) -> Histories:
    return replace(data, columns={name: data.columns[name] for name in ("item", "time", "value")})


@cache
def fitted(name: str) -> Recommender:
    return learn(name, without_groups(mixed()), make_catalog(V).tie_rank)


def asked() -> Histories:
    """Requests of many shapes: one item, repeated items, long, with the unseen item."""
    return Histories.from_lists(
        [[3], [22, 21, 20], [5, 5, 5, 5], list(range(1, 23)) + list(range(1, 23)), [UNSEEN, 7], [1, 22], [9, 2, 9]], V
    )


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


MANIFEST = Manifest(
    hash="0" * 64,
    users=1,
    items=V,
    events=1,
    rejected=0,
    sources=[],
    roles={},
    columns=["item"],
    repeat_share=0,
    seen="exclude",
    duplicates="keep",
    duplicate_rows=0,
    files={},
)
