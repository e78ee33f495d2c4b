"""A model that is told when the answer is wanted learns from it, and is told the same when it is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import onward
from onward.data.prepare import prepare


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whoever comes back within minutes takes the same item again, whoever comes back after days the other."""
    random = np.random.default_rng(0)
    users, length = 80, 12
    late = random.random((users, length)) < 0.5
    times = 1_600_000_000 + np.cumsum(np.where(late, 86_400, 60) * random.integers(1, 3, late.shape), axis=1)
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), length),
            "item": (np.cumsum(late, axis=1) % 2).flatten(),
            "time": times.flatten(),
        }
    )
    folder = tmp_path_factory.mktemp("gaps") / "dataset"
    prepare(frame, folder)
    return folder


@pytest.mark.parametrize(("told", "least", "most"), [("target", 0.95, 1.0), ("none", 0.3, 0.75)])
def test_the_time_of_the_request_is_learned_from(told: str, least: float, most: float, dataset: Path, tmp_path: Path):
    settings = ["train.epochs=30", "train.learning_rate=0.02", "train.batch_tokens=128", "train.validate_every=30"]
    settings += ["model.width=16", "model.dropout=0", "model.max_length=8", f"split.request_time={told}"]
    onward.train(dataset, "hstu", tmp_path / "run", protocol="last", settings=settings, progress=False)
    result = onward.evaluate(tmp_path / "run")
    assert result.protocol["request_time"] == told
    assert least <= result.metrics["accuracy@1"].value <= most
