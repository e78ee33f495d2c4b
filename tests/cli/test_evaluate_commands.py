"""`onward evaluate` and `onward compare`: one JSON object, tables for people, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from onward.cli.main import main
from onward.data.dataset import Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from evaluation_helpers import write_dataset, write_run

V = 12


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    generator = np.random.default_rng(0)
    lists = [((generator.integers(0, V) + np.arange(generator.integers(4, 9))) % V + 1).tolist() for _ in range(30)]
    return write_dataset(tmp_path / "data", lists, V)


@pytest.fixture
def runs(tmp_path: Path, dataset: Dataset) -> list[str]:
    return [str(write_run(tmp_path / name, dataset, name, protocol="last")) for name in ("popularity", "markov")]


def payload(capsys: pytest.CaptureFixture[str]) -> dict:
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    return json.loads(output)


def test_evaluate_prints_one_json_object(runs: list[str], dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", runs[0], "--json"]) == 0
    found = payload(capsys)
    assert found["format"] == "onward.evaluation/1"
    assert set(found["metrics"]["ndcg@10"]) == {"value", "low", "high"}
    assert found["protocol"]["dataset"] == dataset.manifest.hash
    assert found["users"] == 30
    assert found == json.loads((Path(runs[0]) / "evaluation/test/metrics.json").read_text())


def test_evaluate_takes_its_options(runs: list[str], dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "--part",
        "valid",
        "--seen",
        "include",
        "--cold",
        "drop",
        "-k",
        "1",
        "7",
        "--seed",
        "3",
        "--threshold",
        "0.5",
    ]
    assert main(["evaluate", runs[0], "--dataset", str(dataset.path), *given, "--json"]) == 0
    found = payload(capsys)
    protocol = found["protocol"]
    assert found["part"] == "valid"
    assert (protocol["seen"], protocol["cold"], protocol["ks"], protocol["threshold"]) == (
        "include",
        "drop",
        [1, 7],
        0.5,
    )
    assert "ndcg@7" in found["metrics"]


def test_evaluate_prints_tables_for_people(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", runs[1]]) == 0
    output = capsys.readouterr().out
    for text in (
        "markov",
        "protocol 'last'",
        "30 requests of 30 users",
        "ndcg@10",
        "95% interval",
        "coverage",
        "cold",
    ):
        assert text in output


def test_evaluate_writes_a_report_of_the_run(
    runs: list[str], dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["evaluate", runs[1], "-o", str(page), "-k", "3", "--examples", "0", "--json"]) == 0
    assert payload(capsys)["report"] == str(page)
    assert json.loads((Path(runs[1]) / "evaluation/test/metrics.json").read_text())["report"] is None
    html = page.read_text(encoding="utf-8")
    assert "markov reaches NDCG@3" in html
    assert "c1-examples" not in html
    other = write_dataset(tmp_path / "other", [[1, 2, 3, 4], [2, 3, 4]], V)
    assert main(["evaluate", runs[1], "--external", "--dataset", str(other.path), "-o", str(page)]) == 0
    assert "the evaluation was of external data" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["evaluate", runs[1], "-o", str(page), "--examples", "-1"]) == 2
    assert "can't be negative" in capsys.readouterr().err


def test_evaluate_refuses_another_split(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", runs[0], "--protocol", "time", "--json"]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert error["code"] == "config"
    assert "another split ('time')" in error["message"]
    assert "onward train --protocol time" in error["hint"]
    assert not (Path(runs[0]) / "evaluation").exists()


def test_evaluate_refuses_another_dataset_unless_external(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset(tmp_path / "other", [[1, 2, 3, 4], [2, 3, 4, 5]], V)
    assert main(["evaluate", runs[0], "--dataset", str(other.path)]) == 2
    assert "--external" in capsys.readouterr().err
    assert main(["evaluate", runs[0], "--dataset", str(other.path), "--external", "--json"]) == 0
    assert payload(capsys)["protocol"]["external"] is True


def test_a_folder_that_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "nothing")]) == 2
    assert "neither a run nor a bundle" in capsys.readouterr().err


def test_compare_prints_one_json_object(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *runs, "--json"]) == 0
    found = payload(capsys)
    assert found["format"] == "onward.comparison/1"
    assert [row["label"] for row in found["rows"]] == ["markov", "popularity"]
    assert found["report"] is None
    assert {test["label"] for test in found["tests"]} == {"popularity"}


def test_compare_prints_a_table_with_intervals_and_tests(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *runs, "--baseline", "popularity"]) == 0
    output = capsys.readouterr().out
    for text in ("popularity", "markov", "ndcg@10", "train s", "parameters", "against 'popularity'"):
        assert text in output


def test_compare_refuses_different_protocols(
    runs: list[str], dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timed = write_run(tmp_path / "timed", dataset, "markov", protocol="time")
    assert main(["compare", runs[0], str(timed)]) == 2
    assert "differ in split (last and time)" in capsys.readouterr().err


def test_compare_writes_the_report(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.html"
    assert main(["compare", *runs, "-o", str(report), "--json"]) == 0
    found = payload(capsys)
    assert found["report"] == str(report)
    assert found["audit"]["format"] == "onward.audit/1"
    assert "popularity" in report.read_text()
