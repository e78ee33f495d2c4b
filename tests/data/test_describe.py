"""Figures of columns: drift by its formulas, histograms, and what `onward data describe` says of each column."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from onward.cli.main import main
from onward.data.dataset import Dataset
from onward.data.describe import Column, describe_dataset
from onward.data.drift import kolmogorov_smirnov, stability_index
from onward.data.prepare import prepare
from onward.data.profile import Names, Numbers, profile_of


def test_kolmogorov_smirnov_is_that_of_scipy():
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 20, 300), rng.integers(3, 25, 200)  # with ties
    values = np.append(np.arange(25.0), np.nan)
    weights = [np.append(np.bincount(some, minlength=25), 50).astype(float) for some in (first, second)]
    shuffled = rng.permutation(26)
    found = kolmogorov_smirnov(values[shuffled], weights[0][shuffled], weights[1][shuffled])
    assert found == pytest.approx(stats.ks_2samp(first, second).statistic)
    assert kolmogorov_smirnov(values, weights[0], np.zeros(26)) is None


def test_stability_index_by_hand():
    # with half an event more each: shares 8.5/12, 2.5/12, 1/12... of three values
    p, q = np.array([8.5, 2.5, 0.5]) / 11.5, np.array([2.5, 2.5, 6.5]) / 11.5
    wanted = float(((p - q) * np.log(p / q)).sum())
    assert stability_index(np.array([8.0, 2.0, 0.0]), np.array([2.0, 2.0, 6.0])) == pytest.approx(wanted)
    assert stability_index(np.array([4.0, 6.0]), np.array([4.0, 6.0])) == 0
    assert stability_index(np.array([4.0]), np.array([0.0])) is None


def test_rare_values_count_together():
    """With every value by itself, a thousand that only one part has would count as drift."""
    rng = np.random.default_rng(5)
    draws = rng.integers(0, 5000, (2, 4000))
    training, test = (np.bincount(some, minlength=5000).astype(float) for some in draws)
    found = stability_index(training, test)
    assert found is not None
    assert found < 0.05


def test_bars_of_numbers():
    numbers = Numbers(np.array([np.nan, *np.arange(16.0), 1e9]))
    rows = np.ones(18)
    rows[1] = 1000.0  # the far value is beyond the 99th percentile
    bars = numbers.bars(rows)
    assert len(bars) == 8
    assert sum(share for _, share in bars) == pytest.approx(1)
    assert bars[0][0] == "0"
    assert numbers.range(rows) == (0.0, 1e9)
    assert Numbers(np.array([5.0])).bars(np.ones(1)) == [("5", 1.0)]
    assert Numbers(np.array([np.nan])).bars(np.ones(1)) == []


def test_bars_of_sets_count_members():
    profile = profile_of(pl.Series([["a", "b"], ["b"], None, []], dtype=pl.List(pl.String)), "categories")
    assert isinstance(profile, Names)
    assert profile.bars(np.array([1.0, 3.0, 7.0, 0.0])) == [("b", 1.0), ("a", 0.25)]


@pytest.fixture
def described(tmp_path) -> dict[tuple[str, str], Column]:
    rows = 200
    late = np.arange(rows) >= 180  # the test, by time
    log = pl.DataFrame(
        {
            "user": [f"u{n % 10}" for n in range(rows)],
            "item": [f"i{n % 4}" if n < 180 else f"i{n % 2}" for n in range(rows)],
            "time": range(rows),
            "price": np.where(late, 100.0, np.arange(rows) % 7),
            "device": np.where(late, "phone", np.array(["desk", "phone"])[np.arange(rows) % 2]),
            "note": [None if n % 4 else "some words of a person" for n in range(rows)],
            "face": [[3.0, 4.0]] * rows,
        }
    )
    items = pl.DataFrame(
        {"item": ["i0", "i1", "i2", "i3"], "tags": [["a"], ["a"], ["b"], ["a", "b"]], "url": [*"pqrs"]}
    )
    (tmp_path / "features.toml").write_text("[events.device]\nknown_at_request = true\n[items.url]\nuse = false\n")
    dataset = prepare(log, tmp_path / "dataset", items=items, features=tmp_path / "features.toml")
    return columns_of(dataset)


def columns_of(dataset: Dataset) -> dict[tuple[str, str], Column]:
    found = describe_dataset(dataset)
    return {(column.table, column.name): column for column in found.columns}


def test_every_column_in_figures(described):
    price = described["events", "price"]
    assert (price.kind, price.measure, price.low, price.high, price.different) == ("number", "value", 0, 100, 8)
    assert price.drift is not None
    assert (price.drift.measure, price.drift.value) == ("ks", 1.0)
    device = described["events", "device"]
    assert device.known_at_request
    assert {bar.label: bar.share for bar in device.histogram} == {"phone": 0.55, "desk": 0.45}
    assert device.drift is not None
    p, q = np.array([80.5, 80.5]) / 161, np.array([20.5, 0.5]) / 21
    assert device.drift.value == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    note = described["events", "note"]
    assert (note.kind, note.missing, note.different, note.low, note.measure) == ("text", 0.75, 1, 22, "characters")
    face = described["events", "face"]
    assert (face.kind, face.low, face.high, face.measure, face.example) == ("vector", 5, 5, "norm", "3, 4")
    tags = described["items", "tags"]
    assert (tags.kind, tags.different) == ("categories", 2)
    assert {bar.label: bar.share for bar in tags.histogram} == {"a": 0.75, "b": 0.5}
    assert tags.drift is not None  # items count once an event: the test has no b
    assert tags.drift.value > 1
    assert described["items", "url"].kind == "none"
    assert described["events", "item"].histogram == []
    assert described["events", "time"].drift is None  # the parts differ by it


def test_what_is_printed(tmp_path, capsys):
    log = pl.DataFrame(
        {"user": ["u"] * 9, "item": [*"abcabcabc"], "time": range(9), "colour": ["red", "blue", "red"] * 3}
    )
    prepare(log, tmp_path / "dataset")
    assert main(["data", "describe", str(tmp_path / "dataset")]) == 0
    printed = capsys.readouterr().out
    assert "red 67%, blue 33%" in printed
    assert "█" in printed
    assert "psi" in printed
    assert "drift from training to test by protocol time" in printed


@pytest.mark.parametrize("columns", [{}, {"x": [None]}, {"x": [1.5]}, {"tags": [["a"]]}, {"face": [[1.0]]}])
def test_a_dataset_too_small_to_split(tmp_path, columns: dict[str, Any]):
    items = pl.DataFrame({"item": ["a"]} | columns, strict=False)
    found = describe_dataset(prepare(pl.DataFrame({"user": ["u"], "item": ["a"]}), tmp_path / "dataset", items=items))
    assert found.drift_protocol is None
    assert all(column.drift is None for column in found.columns)


def test_columns_without_any_value(tmp_path):
    frame = {"user": ["u", "u"], "item": ["a", "b"], "x": [None, None], "y": [None, None], "z": [None, None]}
    kinds = {"x": "category", "y": "number", "z": "time"}
    (tmp_path / "f.toml").write_text("".join(f'[events.{name}]\nkind = "{kind}"\n' for name, kind in kinds.items()))
    columns = columns_of(prepare(pl.DataFrame(frame), tmp_path / "dataset", features=tmp_path / "f.toml"))
    for name in kinds:
        column = columns["events", name]
        assert (column.missing, column.different, column.low, column.histogram) == (1.0, 0, None, [])


def test_no_harm_to_ml_100k(ml100k_dataset):
    columns = columns_of(ml100k_dataset)
    assert columns["items", "class"].different == 19
    assert columns["events", "value"].low == 1
    assert columns["users", "age"].drift is not None
