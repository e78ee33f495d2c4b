"""What features cost in training: processor time of some steps with eight columns and without, in one process.

    python bench/features.py DATASET

The columns are generated, of all kinds, for the items and events of the dataset.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from onward.config import SplitConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.epochs import TrainingBatches
from onward.data.split import split
from onward.models.base import build, make_items
from onward.models.features.source import Offered, Source
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.threads import team
from onward.train.features import fit_features
from onward.train.gradients import Gradients

STEPS, ROUNDS = 20, 4
OFFERED = [
    Offered("items", "brand", "category", "items.brand"),
    Offered("items", "genres", "categories", "items.genres"),
    Offered("items", "price", "number", "items.price"),
    Offered("items", "shape", "vector", "items.shape"),
    Offered("items", "made", "time", "items.made"),
    Offered("events", "device", "category", "feature.device", known_at_request=True),
    Offered("events", "paid", "number", "feature.paid"),
    Offered("events", "mood", "category", "feature.mood"),
]


def generated(data: Dataset) -> Source:
    """The dataset with eight columns."""
    random, histories, items = np.random.default_rng(0), data.histories, data.manifest.items
    n = len(histories.item)
    columns = {
        "feature.device": random.integers(1, 5, n).astype(np.int32),
        "feature.paid": random.lognormal(size=n).astype(np.float32),
        "feature.mood": random.integers(1, 4, n).astype(np.int32),
    }
    genres = [[f"g{one}" for one in random.choice(18, random.integers(1, 5), replace=False)] for _ in range(items)]
    frame = pl.DataFrame(
        {
            "item": data.catalog.ids,
            "brand": [f"b{number}" for number in random.integers(0, 300, items)],
            "genres": genres,
            "price": random.lognormal(size=items),
            "shape": pl.Series(random.normal(size=(items, 32)).tolist(), dtype=pl.List(pl.Float32)),
            "made": pl.Series(random.integers(0, 10**15, items)).cast(pl.Datetime("us")),
        }
    )
    values = {"device": ["pc", "phone", "tv", "car"], "mood": ["bad", "fair", "good"]}
    with_columns = replace(histories, columns={**histories.columns, **columns})
    return Source(with_columns, frame, data.users, OFFERED, lambda name: pl.Series(values[name]))


def steps(data: Dataset, features: str) -> Iterator[float]:
    """Processor seconds of STEPS steps, again and again."""
    source = generated(data)
    divided = split(source.histories, SplitConfig(protocol="last"))
    training = divided.training(source.histories)
    torch.manual_seed(0)
    settings = {"features": features}
    model = build(model_class("sasrec"), settings, make_items(training, data.catalog.tie_rank))
    assert isinstance(model, SequenceModel)
    columns, _, histories = fit_features(source, training, model.config, "none")
    model.use_features(columns, source.items)
    batches = TrainingBatches(divided.training(histories), model.config.max_length, 2048, 0, opens=model.opens)
    windows = list(batches.epoch(0))
    model.train()
    with team(2) as threads:
        gradients = Gradients(model, batches, 0, threads)
        step = 0
        while True:
            started = time.process_time()
            for _ in range(STEPS):
                gradients.of(windows[step % len(windows)], step)
                step += 1
            yield time.process_time() - started


def main() -> None:
    """Print both times and what features add."""
    data = open_dataset(sys.argv[1])
    torch.set_num_threads(1)
    plain, rich = steps(data, "none"), steps(data, "all")
    pairs = [(next(plain), next(rich)) for _ in range(ROUNDS)][1:]  # the first round warms up
    without, with_features = (min(times) / STEPS * 1e3 for times in zip(*pairs, strict=True))
    print(f"sasrec, {data.manifest.items} items, {len(OFFERED)} columns, ms of processor time a step:")
    print(f"without {without:.1f}   with {with_features:.1f}   {with_features / without - 1:+.0%}")


if __name__ == "__main__":
    main()
