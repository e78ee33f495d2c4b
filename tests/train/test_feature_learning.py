"""A feature of an event that decides the next item is learned from, and only where it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from onward.config import TrainConfig
from onward.data.sequences import Histories
from onward.models.base import build, make_items
from onward.models.features.source import Offered, Source
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.train.display import Display
from onward.train.features import fit_features
from onward.train.loop import train_model

SIGNALS = 8


def _source() -> Source:
    """Items are drawn by chance, but each is the signal of the event before it."""
    random = np.random.default_rng(0)
    signal = random.integers(1, SIGNALS + 1, (150, 10))
    item = np.roll(signal, 1, axis=1).ravel().astype(np.int32)
    end = np.arange(1, 151) * 10
    columns = {"item": item, "feature.signal": signal.ravel().astype(np.int32)}
    items = pl.DataFrame({"item": [str(number) for number in range(1, SIGNALS + 1)]})
    values = pl.Series([f"s{number}" for number in range(1, SIGNALS + 1)])
    offered = [Offered("events", "signal", "category", "feature.signal")]
    return Source(
        Histories(columns, end - 10, end, SIGNALS), items, pl.DataFrame({"user": range(150)}), offered, lambda _: values
    )


def _accuracy(features: str, folder: Path) -> float:
    source = _source()
    training = replace(source.histories, end=source.histories.end - 1)
    torch.manual_seed(0)
    items = make_items(training, np.arange(SIGNALS + 1, dtype=np.int32))
    model = build(model_class("gru"), {"width": 16, "features": features}, items)
    assert isinstance(model, SequenceModel)
    columns, _, histories = fit_features(source, training, model.config, "none")
    model.use_features(columns, source.items)
    training = replace(histories, end=histories.end - 1)
    (folder / "checkpoints").mkdir(parents=True)
    config = TrainConfig(epochs=15, learning_rate=0.02, warmup_steps=5, batch_tokens=256)
    train_model(model, training, None, config, 0, folder, Display("", shown=False))
    found = model.recommend(training, 1, seen="include").items[:, 0]
    return float((found == histories.item[histories.end - 1]).mean())


def test_a_feature_that_decides_the_next_item_is_learned(tmp_path: Path) -> None:
    assert _accuracy("all", tmp_path / "all") > 0.95
    assert _accuracy("none", tmp_path / "none") < 0.35  # chance is one in eight
