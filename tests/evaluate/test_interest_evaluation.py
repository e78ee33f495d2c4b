"""Evaluating and comparing interest: where the decision comes from, and what the paired tests resample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_helpers import write_dataset, write_run

from onward.bundle import load_bundle
from onward.config import SplitConfig
from onward.data.dataset import Dataset
from onward.data.split import split
from onward.evaluate import interest
from onward.evaluate.bootstrap import holm
from onward.evaluate.compare import compare
from onward.evaluate.protocol import evaluate
from onward.evaluate.validate import target_interests

V = 15
SPLIT = {"protocol": "last", "last_share": 0.25}
NAMES = ("global-mean", "user-mean", "item-mean", "biased-mf")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = np.random.default_rng(0)
    lists = [rng.permutation(V)[: rng.integers(8, V)].tolist() for _ in range(50)]
    lists = [[item + 1 for item in one] for one in lists]
    worth, mood = rng.normal(0, 1, V + 1), rng.normal(0, 1, len(lists))
    exact = [3 + mood[user] + worth[item] + rng.normal(0, 0.5) for user, one in enumerate(lists) for item in one]
    values = np.clip(np.round(exact), 1, 5).astype(np.float32)
    return write_dataset(tmp_path_factory.mktemp("rated"), lists, V, value=values)


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / name, dataset, name, **SPLIT) for name in NAMES]


def test_the_decision_is_chosen_on_validation_and_then_holds_on_the_test(dataset: Dataset, runs: list[Path]) -> None:
    result = evaluate(runs[-1])
    model, divided = load_bundle(runs[-1]).model, split(dataset.histories, SplitConfig(**SPLIT))
    best = {}
    for name, part in (("valid", divided.valid), ("test", divided.test)):
        _, _, predicted, observed = target_interests(model, dataset.histories, part)
        best[name] = interest.best_decision(predicted, observed, 0.75)
    assert result.decision == best["valid"]
    assert best["valid"] != best["test"]  # else nothing would tell where it was chosen
    assert result.metrics["f1"].value == pytest.approx(interest_f1(predicted, observed, best["valid"]))
    assert result.metrics["f1"].value < interest_f1(predicted, observed, best["test"])
    assert result.protocol["decision"] == "best F1 on validation"


def interest_f1(predicted: np.ndarray, observed: np.ndarray, decision: float) -> float:
    """By counting, `decision` being of the predictions alone; liked is 0.75 and more."""
    said, liked = predicted >= decision - 1e-9, observed >= 0.75
    return 2 * (said & liked).sum() / (said.sum() + liked.sum())


def test_a_decision_that_is_given_holds(runs: list[Path]) -> None:
    given = evaluate(runs[-1], decision=0.5)
    assert given.decision == 0.5
    pairs = given.pairs
    f1 = interest_f1(pairs["predicted"].to_numpy(), pairs["observed"].to_numpy(), 0.5)
    assert given.metrics["f1"].value == pytest.approx(f1)


def test_models_are_ordered_and_tested_on_an_error_in_values(runs: list[Path]) -> None:
    result = compare(runs, metric="value_rmse", baseline="item-mean")
    rmse = {row.label: row.evaluation.metrics["value_rmse"].value for row in result.rows}
    assert list(rmse.values()) == sorted(rmse.values())  # the smallest error first
    assert result.rows[0].label == "biased-mf"
    tested = {test.metric for test in result.tests}
    assert {"value_rmse", "value_mae", "mse", "auc", "f1", "ece", "log_loss", "accuracy", "ndcg@10"} <= tested
    for name in ("global-mean", "user-mean", "biased-mf"):
        test = result.test(name, "value_rmse")
        assert test is not None
        assert test.difference.value == pytest.approx(rmse[name] - rmse["item-mean"])
        assert test.difference.low < test.difference.value < test.difference.high
    adjusted = holm([result.test(name, "mse").p_value for name in ("biased-mf", "user-mean", "global-mean")])
    assert [result.test(name, "mse").p_holm for name in ("biased-mf", "user-mean", "global-mean")] == adjusted


def test_the_interval_is_that_of_users_drawn_again(runs: list[Path]) -> None:
    result = compare(runs, metric="value_rmse", baseline="item-mean")
    pairs = {row.label: row.evaluation.pairs for row in result.rows}
    mine, theirs = pairs["biased-mf"], pairs["item-mean"]
    by_user = [
        frame.group_by("user", maintain_order=True)
        .agg(((pl.col("predicted") - pl.col("observed")) ** 2).sum().alias("squares"), pl.len())
        .to_numpy()[:, 1:]
        .astype(float)
        for frame in (mine, theirs)
    ]
    rng, users = np.random.default_rng(7), len(by_user[0])
    drawn = rng.integers(0, users, (4000, users))
    sums = [one[drawn].sum(axis=1) for one in by_user]
    gaps = 4 * (np.sqrt(sums[0][:, 0] / sums[0][:, 1]) - np.sqrt(sums[1][:, 0] / sums[1][:, 1]))
    test = result.test("biased-mf", "value_rmse")
    assert test is not None
    width = np.std(gaps)
    low, high = np.quantile(gaps, [0.025, 0.975])
    assert test.difference.low == pytest.approx(low, abs=width / 4)
    assert test.difference.high == pytest.approx(high, abs=width / 4)
    assert test.difference.high < 0
    assert test.p_value < 0.01


def test_a_model_that_only_ranks_has_no_test_of_interest(runs: list[Path], dataset: Dataset, tmp_path: Path) -> None:
    ranking = write_run(tmp_path / "popularity", dataset, "popularity", **SPLIT)
    result = compare([runs[2], ranking], baseline="item-mean")
    assert result.test("popularity", "mse") is None
    assert result.test("popularity", "ndcg@10") is not None
