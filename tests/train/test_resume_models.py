"""Whatever the model, a training that broke off in the middle of an epoch and was resumed ends with the same bits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from breaking import Breaking
from onward.config import TrainConfig
from onward.data.sequences import Histories
from onward.models.base import Items, build
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.train.loop import train_model

N_ITEMS = 20


def _histories() -> Histories:
    random = np.random.default_rng(0)
    end = np.cumsum(random.integers(2, 12, 40))
    columns = {
        "item": random.integers(1, N_ITEMS + 1, end[-1]).astype(np.int32),
        "time": np.cumsum(random.integers(0, 90, end[-1])) * 1_000_000,
    }
    return Histories(columns, np.append(0, end[:-1]), end, N_ITEMS)


def _train(name: str, folder: Path, break_at: int = 0, resume: bool = False, augmented: bool = False) -> SequenceModel:
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    items = Items(_histories().item_counts(), np.arange(N_ITEMS + 1, dtype=np.int32))
    model = build(model_class(name), {"width": 8, "max_length": 6, "contrastive": 0.1 * augmented}, items)
    config = TrainConfig(epochs=2, batch_tokens=32, augment=("crop", "insert", "mask") if augmented else ())
    train_model(model, _histories(), None, config, 3, folder, Breaking(break_at), resume, "target")
    return model


CASES = [(name, False) for name in MODELS if model_class(name).traits.trainable] + [("sasrec", True), ("bsarec", True)]


@pytest.mark.parametrize(("name", "augmented"), CASES)
def test_broken_off_and_resumed(name: str, augmented: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[train_model.__module__], "SAVE_SECONDS", 0)  # a checkpoint after every step
    unbroken = _train(name, tmp_path / "unbroken", augmented=augmented).state()
    with pytest.raises(RuntimeError, match="broken off"):
        _train(name, tmp_path / "run", break_at=12, augmented=augmented)
    resumed = _train(name, tmp_path / "run", resume=True, augmented=augmented).state()
    assert unbroken.keys() == resumed.keys()
    assert all(torch.equal(unbroken[key], resumed[key]) for key in unbroken)
