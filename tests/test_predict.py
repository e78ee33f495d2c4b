"""Interest for pairs: values in their units, unknown users and items, bad tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.cli.main import main
from onward.data.prepare import prepare
from onward.errors import ConfigError, DataError
from onward.models.features.attach import histories_for
from onward.predict import predict, read_pairs
from onward.train.run import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    rows = [(user, item, when) for user in range(20) for when, item in enumerate(rng.permutation(12)[:8])]
    users, items, times = zip(*rows, strict=True)
    stars = rng.integers(1, 6, len(rows))
    table = pl.DataFrame({"user": users, "item": items, "timestamp": np.array(times) + 1_600_000_000, "rating": stars})
    table.write_csv(folder / "events.csv")
    data = prepare(folder / "events.csv", folder / "dataset")
    for name in ("item-mean", "popularity"):
        train(data, name, folder / name, protocol="last", progress=False)
    return folder


def test_pairs_are_answered_in_their_order_and_in_units_of_the_values(runs: Path) -> None:
    pairs = pl.DataFrame({"user": ["3", "0", "3"], "item": ["5", "5", "7"]})
    found, notes = predict(runs / "item-mean", pairs)
    assert found.select("user", "item").equals(pairs)
    assert notes == []
    assert found["interest"][0] == found["interest"][1] != found["interest"][2]
    assert found["value"].to_list() == pytest.approx((1 + 4 * found["interest"]).to_list())


def test_unknown_users_and_items_are_counted(runs: Path) -> None:
    found, notes = predict(runs / "item-mean", pl.DataFrame({"user": ["x", "0"], "item": ["5", "nothing"]}))
    assert found["interest"].is_null().to_list() == [False, True]
    assert [note.rpartition(" ")[2] for note in notes] == ["1", "1"]


def test_a_stranger_has_neither_features_nor_friends_of_anybody(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(user, item, int(rng.integers(1, 6))) for user in range(30) for item in rng.permutation(12)[:8]]
    log = pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row")
    friends = pl.DataFrame({"user": range(30), "friend": [(user + 1) % 30 for user in range(30)]})
    data = prepare(log, tmp_path / "dataset", value="rating", links=friends)
    settings = ["model.loss=mse", 'model.features=["links"]', "model.width=8", "train.epochs=2"]
    train(data, "gru", tmp_path / "run", protocol="last", settings=settings, progress=False)
    pairs = pl.DataFrame({"user": ["x", "0", "y"], "item": ["5", "5", "5"]})
    found, _ = predict(tmp_path / "run", pairs)
    alone, _ = predict(tmp_path / "run", pairs[2:])
    assert found["interest"][0] == found["interest"][2] == pytest.approx(alone["interest"][0], abs=1e-6)
    # the first user of the data, of whom nothing is known but the friends, is answered otherwise
    bundle = load_bundle(tmp_path / "run")
    histories = histories_for(bundle.model, data)
    befriended = replace(histories, end=histories.start).select(slice(0, 1))
    known = float(bundle.model.interest(befriended, bundle.catalog.index(["5"]).astype(np.int64))[0])
    assert known != pytest.approx(alone["interest"][0], abs=1e-6)


def test_a_model_that_ranks_is_refused(runs: Path) -> None:
    with pytest.raises(ConfigError, match="'popularity' only ranks"):
        predict(runs / "popularity", pl.DataFrame({"user": ["0"], "item": ["5"]}))


def test_bad_tables_name_the_column(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("user,film\n1,2\n")
    with pytest.raises(DataError, match=r"pairs\.csv has no column 'item'"):
        read_pairs(tmp_path / "pairs.csv")
    (tmp_path / "pairs.csv").write_text("user,item\n1,2\n,3\n")
    with pytest.raises(DataError, match=r"column 'user' .* is empty in 1 rows, the first of them row 2"):
        read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / "none.csv")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_in_and_a_file_out(runs: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = pl.DataFrame({"user": ["0", "1"], "item": ["5", "6"]})
    file, out = tmp_path / f"pairs.{suffix}", tmp_path / f"found.{suffix}"
    pairs.write_parquet(file) if suffix == "parquet" else pairs.write_csv(file)
    assert main(["predict", str(runs / "item-mean"), "--pairs", str(file), "-o", str(out), "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert (payload["rows"], payload["pairs"]) == (2, [])
    found = pl.read_parquet(out) if suffix == "parquet" else pl.read_csv(out, infer_schema_length=None)
    assert found.columns == ["user", "item", "interest", "value"]


def test_who_and_what_must_be_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(runs / "item-mean"), "--user", "3"]) == 2
    assert "predict for whom" in capsys.readouterr().err
