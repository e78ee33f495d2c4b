"""Benchmarks over seeds: pooled changes and their intervals, and the tables that features come from."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from no_harm import beauty, movielens
from pooled import METRIC, report


def _write(folder: Path, name: str, seed: int, values: list[float], users: list[str]) -> None:
    record = {
        "name": name,
        "seed": seed,
        "epochs": 3,
        "best_epoch": 2.0,
        "valid": {METRIC: 0.5},
        "test": {METRIC: float(np.mean(values))},
    }
    record["requests"] = {"user": users, METRIC: values}
    (folder / f"{name}-{seed}.json").write_text(json.dumps(record))


def test_seeds_are_pooled_by_request_and_compared_in_pairs(tmp_path: Path) -> None:
    users = [f"u{number // 2}" for number in range(40)]
    base = np.linspace(0.1, 0.9, 40)
    for seed, shift in ((0, 0.02), (1, 0.04)):
        _write(tmp_path, "ids", seed, base.tolist(), users)
        _write(tmp_path, "full", seed, (base + shift).tolist(), users)
    table = report(tmp_path, ["ids", "full", "missing"], ["ids"]).splitlines()
    assert table[2] == "| ids | 2 | 3, 3 | 0.5000 | 0.5000 ± 0.0000 |  |"
    # whoever is drawn, requests gain 0.02 and 0.04, which is 0.03 ± 12.706 x 0.01 with one degree of freedom, of 0.5
    assert table[3] == "| full | 2 | 3, 3 | 0.5000 | 0.5300 ± 0.0100 | +6.0% (-19.4% to +31.4%) |"
    assert len(table) == 4


def test_records_of_different_requests_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "ids", 0, [0.1, 0.2], ["a", "b"])
    _write(tmp_path, "full", 0, [0.1, 0.2], ["b", "a"])
    with pytest.raises(SystemExit, match="different requests"):
        report(tmp_path, ["ids", "full"], ["ids"])


def test_a_training_without_its_test_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "ids-0.json").write_text(json.dumps({"name": "ids", "seed": 0}))
    assert len(report(tmp_path, ["ids"], ["ids"]).splitlines()) == 2


def test_movielens_features_go_to_the_ids_of_the_other_file(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "ml-1m_sas.txt.gz", "wt") as file:
        file.write("1 2\n1 1\n")
    (tmp_path / "movies.dat").write_text(
        "7::Été (1995)::Drama|War\n9::Two: Part (2) (2000)::Comedy\n", encoding="latin-1"
    )
    (tmp_path / "users.dat").write_text("5::F::25::3::90210\n", encoding="latin-1")
    (tmp_path / "sas_to_original_items.txt").write_text("1 9\n2 7\n")
    (tmp_path / "sas_to_original_users.txt").write_text("1 5\n")
    events, items, users = movielens(tmp_path)
    assert events.rows() == [("1", "2"), ("1", "1")]
    assert sorted(items.select("item", "genres", "year").rows()) == [("1", "Comedy", 2000), ("2", "Drama|War", 1995)]
    assert users.select("user", "gender", "age_group", "occupation", "region").rows() == [("1", "F", "25", "3", "9")]


def test_beauty_items_have_the_words_of_their_attributes(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text("1 4 5\n2 5\n")
    (tmp_path / "item2attributes.json").write_text('{"4": [1, 2], "5": [2]}')
    (tmp_path / "attribute_names.csv").write_text("attribute,name\n1,Makeup\n2,Face\n")
    events, items, _ = beauty(tmp_path)
    assert events.rows() == [("1", "4"), ("1", "5"), ("2", "5")]
    assert items.rows() == [("4", ["Makeup", "Face"]), ("5", ["Face"])]
