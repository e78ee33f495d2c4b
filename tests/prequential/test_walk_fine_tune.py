"""Fine-tuning along the time line: which model goes on from which, on what, and that it pays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from walk_helpers import turning_log, walk_run

import onward
from onward.bundle import read_manifest
from onward.config import FineTuneConfig, RunConfig, read_toml
from onward.errors import ConfigError
from onward.prequential.policies import ModelKey, parse_policies
from onward.prequential.results import Prequential

GRU = ["model.width=16", "model.dropout=0", "train.epochs=8", "train.batch_tokens=256", "train.learning_rate=0.02"]
HOW = FineTuneConfig(epochs=3, learning_rate_share=1.0, replay=0.0)
POLICIES = ["never", "full", "fine-tune", "fine-tune:2"]


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return walk_run(tmp_path_factory.mktemp("tuned"), turning_log(), "gru", *GRU)


@pytest.fixture(scope="module")
def walked(turned: Path) -> Prequential:
    return onward.prequential(turned, turned.parent / "walk", every="2d", policies=POLICIES, fine_tune=HOW)


def test_each_model_goes_on_from_the_one_before(walked: Prequential, turned: Path) -> None:
    models = turned.parent / "walk" / "models"
    chains = {
        1: ["full-0000", "fine-tune-0001", "fine-tune-0002", "fine-tune-0003", "fine-tune-0004"],
        2: ["full-0000", "fine-tune-2-0002", "fine-tune-2-0004"],
    }
    for every, names in chains.items():
        for place, (before, name) in enumerate(pairwise(names)):
            manifest, parent = read_manifest(models / name / "model"), read_manifest(models / before / "model")
            assert manifest.parent == parent.files["weights.safetensors"]
            how = RunConfig.parse(read_toml(models / name / "config.toml")).fine_tune
            assert how is not None
            assert (how.epochs, how.replay) == (HOW.epochs, HOW.replay)
            assert how.since == walked.periods[place * every].start
            period = walked.periods[(place + 1) * every]
            assert manifest.data.events == manifest.data.training_events == period.training_events
            assert manifest.data.time_max is not None
            assert manifest.data.time_max < period.start
    assert [one.refits.trainings for one in walked.policies] == [0, 4, 4, 2]


def test_it_follows_a_change_for_a_part_of_the_time(walked: Prequential) -> None:
    never, full, tuned, _ = walked.policies
    assert never.overall.relative is not None
    assert tuned.overall.relative is not None
    assert never.overall.relative.high < tuned.overall.relative.value
    assert tuned.steps[-1].ndcg.value > never.steps[-1].ndcg.high
    assert tuned.overall.cold_targets == full.overall.cold_targets  # items that came late have rows


def test_what_comes_later_changes_no_tuned_model(walked: Prequential, turned: Path, tmp_path: Path) -> None:
    cut = walked.periods[2].start // 10**6
    later = pl.col("time") >= cut
    # the same items in another order, for the run, whose epochs all trainings have, begins with a row for each of them
    log = turning_log().with_columns(item=pl.when(later).then(pl.col("item").shuffle(0)).otherwise("item"))
    run = walk_run(tmp_path, log, "gru", *GRU)
    onward.prequential(run, tmp_path / "walk", every="2d", policies=["fine-tune"], fine_tune=HOW)
    for name, same in (("full-0000", True), ("fine-tune-0002", True), ("fine-tune-0003", False)):
        hashes = {
            read_manifest(folder / "walk" / "models" / name / "model").files["weights.safetensors"]
            for folder in (tmp_path, turned.parent)
        }
        assert (len(hashes) == 1) is same, name


def test_a_model_that_is_fitted_in_one_call_has_nothing_to_tune(tmp_path: Path) -> None:
    run = walk_run(tmp_path, turning_log(users=8))
    with pytest.raises(ConfigError, match="'markov' is fitted in one call"):
        onward.prequential(run, tmp_path / "walk", policies=["fine-tune"])


def test_chains_of_policies() -> None:
    every, third = parse_policies(["fine-tune", "fine-tune:3"])
    assert every.model(0) == third.model(2) == ModelKey("full", 0)
    assert every.model(2).parent == every.model(1)
    assert every.model(1).parent == ModelKey("full", 0)
    assert third.model(7) == third.model(6) == ModelKey("fine-tune", 6, 3)
    assert third.model(6).parent == third.model(3)
    assert third.model(3).parent == ModelKey("full", 0)
    assert len({key.name for key in (every.model(3), third.model(3), ModelKey("full", 3))}) == 3
