"""Cold items and cold users, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_helpers import write_dataset, write_run

from onward.cli.main import main
from onward.data.dataset import Dataset
from onward.errors import ConfigError, DataError
from onward.evaluate.protocol import evaluate

LISTS = [[1, 3, 2], [1, 2, 4], [5, 1, 4]]
TIMES = np.array([0, 1, 10, 3, 4, 20, 21, 22, 23])
CUTS = {"protocol": "time", "valid_from": 10, "test_from": 20}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Items 1, 2 and 3 are trained on, 4 and 5 cold, and 6 has no event; the third user is cold."""
    return write_dataset(tmp_path / "data", LISTS, 6, time=TIMES)


def test_cold_items_are_ranked_among_all_and_among_themselves(dataset: Dataset, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", dataset, "popularity", **CUTS)
    result = evaluate(run, cold="items", ks=(1, 2, 3))
    # popularity knows nothing of cold items: they are tied after all others that aren't in the history
    assert result.table["targets"].list.first().to_list() == ["i004", "i005", "i004"]
    assert result.table["above"].list.first().to_list() == [1, 3, 2]
    assert result.table["tied"].list.first().to_list() == [2, 2, 1]
    assert result.metrics["hr@2"].value == pytest.approx(0.5 / 3)
    assert result.metrics["hr@3"].value == pytest.approx(2 / 3)
    assert result.among_cold is not None
    assert result.among_cold["hr@1"].value == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert result.among_cold["hr@2"].value == 1
    assert result.table["among_cold.hr@1"].to_list() == [0.5, 0.5, 1]
    assert (result.requests, result.counts["cold_items"], result.counts["cold_users"]) == (3, 2, 1)
    assert result.protocol["candidate_items"] == 5
    assert result.protocol["scores_unseen"] is False
    assert (run / "evaluation/test-cold-items/metrics.json").is_file()
    assert not (run / "evaluation/test").exists()  # what is measured of all requests stands alone


def test_warm_targets_of_a_set_are_left_out(tmp_path: Path) -> None:
    group = np.array([0, 1, 2, 0, 1, 2, 0, 0, 0], dtype=np.int32)
    times = np.array([0, 1, 10, 3, 4, 20, 21, 21, 21])
    grouped = write_dataset(tmp_path / "data", LISTS, 6, time=times, group=group)
    result = evaluate(write_run(tmp_path / "run", grouped, "popularity", **CUTS), cold="items", ks=(5,))
    assert result.table["targets"].to_list() == [["i004"], ["i004", "i005"]]
    assert result.counts["targets"] == 3


def test_cold_users_are_those_without_training_events(dataset: Dataset, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", dataset, "popularity", **CUTS)
    result = evaluate(run, cold="users")
    assert (result.users, result.requests) == (1, 3)
    assert result.counts["empty_histories"] == 1
    assert result.counts["cold_targets"] == 2
    assert result.among_cold is None
    held_out = write_run(
        tmp_path / "held-out", dataset, "popularity", protocol="users", valid_share=0.3, test_share=0.3
    )
    assert evaluate(held_out, cold="users").requests == evaluate(held_out).requests == 2


def test_refit_moves_the_cut(dataset: Dataset, tmp_path: Path) -> None:
    lists, times = [[1, 3, 4], [1, 2, 4], [5, 1, 4]], TIMES  # item 4 comes with the validation
    later = write_dataset(tmp_path / "later", lists, 6, time=times)
    assert evaluate(write_run(tmp_path / "a", later, "popularity", **CUTS), cold="items").counts["cold_items"] == 2
    refit = write_run(tmp_path / "b", later, "popularity", **CUTS, refit=True)
    assert evaluate(refit, cold="items").counts["cold_items"] == 1


@pytest.mark.parametrize(("protocol", "kind"), [("last", "items"), ("last", "users"), ("users", "items")])
def test_a_split_without_a_cut_is_refused(dataset: Dataset, tmp_path: Path, protocol: str, kind: str) -> None:
    run = write_run(tmp_path / "run", dataset, "popularity", protocol=protocol, valid_share=0.3, test_share=0.3)
    with pytest.raises(ConfigError, match=f"--cold {kind} needs a split with a cut: protocol '{protocol}'") as raised:
        evaluate(run, cold=kind)
    assert "--protocol time" in raised.value.hint


def test_nothing_cold_is_an_error(tmp_path: Path) -> None:
    warm = write_dataset(tmp_path / "warm", [[1, 2, 1], [2, 1, 2]], 2, time=np.array([0, 10, 20, 1, 11, 21]))
    run = write_run(tmp_path / "run", warm, "popularity", **CUTS)
    with pytest.raises(DataError, match="no request of the test part asks for a cold item"):
        evaluate(run, cold="items")
    with pytest.raises(DataError, match="no request of the test part comes from a cold user"):
        evaluate(run, cold="users")


def test_the_command_prints_both(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", dataset, "popularity", **CUTS))
    main(["evaluate", run, "--cold", "items", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["among_cold"]["hr@5"]["value"] == 1
    main(["evaluate", run, "--cold", "items"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "among the cold items alone: ndcg@10" in shown
    assert "2 cold items and 1 cold users" in shown
    assert "its scores of cold items mean nothing" in shown
