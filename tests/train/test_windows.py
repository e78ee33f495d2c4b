"""How histories are cut for training: every way gives a causal model the same targets, others only what is safe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from onward.config import read_toml
from onward.data.epochs import TrainingBatches
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.data.synthetic import chain_events
from onward.errors import ConfigError
from onward.models.base import Items, Traits, build
from onward.models.registry import model_class
from onward.train.run import train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    prepare(chain_events(users=40, items=12, length=8, noise=0.1, seed=0), folder / "dataset")
    return folder / "dataset"


def _mean_loss(model: torch.nn.Module, batches: TrainingBatches) -> float:
    """Over all targets of an epoch."""
    epoch = map(batches.batch, batches.epoch(0))
    losses = [(model.loss(batch).item(), float(batch.target_weights.sum())) for batch in epoch]
    return sum(loss * weight for loss, weight in losses) / sum(weight for _, weight in losses)


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "gru"])
def test_prefix_windows_and_whole_ones_are_the_same_loss_of_a_causal_model(name: str, groups: bool) -> None:
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 9, 30)
    end = np.cumsum(lengths)
    columns = {"item": rng.integers(1, 20, end[-1]).astype(np.int32)}
    if groups:
        columns["group"] = np.cumsum(rng.random(end[-1]) < 0.6).astype(np.int32)
    histories = Histories(columns, end - lengths, end, 19)
    torch.manual_seed(0)
    items = Items(histories.item_counts(), np.arange(20, dtype=np.int32))
    model = build(model_class(name), {"width": 8, "dropout": 0.0, "max_length": 10}, items)
    whole, prefix = (TrainingBatches(histories, 10, 40, seed=1, windows=windows) for windows in ("all", "prefix"))
    assert _mean_loss(model, prefix) == pytest.approx(_mean_loss(model, whole), rel=1e-5)


def test_a_model_that_is_not_causal_is_never_trained_on_its_own_targets() -> None:
    traits = Traits(trainable=True, causal=False, windows=("prefix",))
    assert traits.resolve_windows(None, "m") == "prefix"
    with pytest.raises(ConfigError, match=r"'m' can't be trained with train.windows = 'all'.*sees its whole row"):
        traits.resolve_windows("all", "m")


def test_the_runs_settings_say_how_histories_were_cut(dataset: Path, tmp_path: Path) -> None:
    common = ["train.epochs=1", "model.width=8"]
    for asked, resolved in ((None, "all"), ("prefix", "prefix")):
        settings = common if asked is None else [*common, f"train.windows={asked}"]
        done = train(dataset, "gru", tmp_path / resolved, protocol="last", settings=settings, progress=False)
        assert done.config.train.windows == resolved
        assert read_toml(done.folder / "config.toml")["train"]["windows"] == resolved
