"""`onward runs` and `onward runs diff`: what run folders say, filtered, ordered, and told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.errors import ConfigError, FormatError
from onward.evaluate.protocol import evaluate
from onward.evaluate.results import write_evaluation
from onward.train.contrasts import run_differences
from onward.train.listing import list_runs
from onward.train.records import best_validation, read_record
from onward.train.run import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    dataset = prepare(chain_events(users=40, items=10, length=8, noise=0.2, seed=0), folder / "dataset")
    for width in (8, 16):
        settings = ["train.epochs=2", f"model.width={width}"]
        train(dataset, "gru", folder / f"gru-{width}", protocol="last", settings=settings, progress=False)
    train(dataset, "popularity", folder / "deeper" / "popularity", protocol="last")
    write_evaluation(folder / "gru-8" / "evaluation" / "test", evaluate(folder / "gru-8"))
    return folder


def _names(found: object) -> list[str]:
    return [Path(record.path).name for record in found.runs]  # type: ignore[attr-defined]


def test_a_record_says_what_the_folder_holds(runs: Path) -> None:
    record = read_record(runs / "gru-8")
    manifest = json.loads((runs / "gru-8" / "model" / "manifest.json").read_text())
    measured = json.loads((runs / "gru-8" / "evaluation" / "test" / "metrics.json").read_text())["metrics"]
    assert (record.model, record.state, record.dataset) == ("gru", "finished", manifest["dataset"])
    assert record.parameters == manifest["training"]["parameters"]
    assert record.seconds == manifest["training"]["seconds"]
    assert record.test["ndcg@10"].value == measured["ndcg@10"]["value"]
    assert record.test["ndcg@10"].high == measured["ndcg@10"]["high"]
    lines = [json.loads(line) for line in (runs / "gru-8" / "metrics.jsonl").read_text().splitlines()]
    best = max((line for line in lines if line["kind"] == "validation"), key=lambda line: line["ndcg@10"])
    assert record.validation["ndcg@10"] == best["ndcg@10"]
    assert read_record(runs / "gru-16").test == {}


def test_the_best_validation_is_the_least_where_less_is_better() -> None:
    lines = [{"kind": "validation", "step": step, "mse": mse} for step, mse in enumerate([0.3, 0.1, 0.1, 0.2])]
    assert best_validation(lines, "mse")["step"] == 1
    assert best_validation([{**line, "ndcg@10": line["mse"]} for line in lines], "ndcg@10")["step"] == 0
    assert best_validation(lines, "auc")["step"] == 3, "the newest, where the metric wasn't measured"
    assert best_validation([], "auc") == {}


def test_runs_are_found_below_a_folder_and_filtered(runs: Path) -> None:
    assert set(_names(list_runs([runs]))) == {"gru-8", "gru-16", "popularity"}
    assert _names(list_runs([runs], model="popularity")) == ["popularity"]
    assert _names(list_runs([runs], where=["model.width=16"])) == ["gru-16"]
    assert _names(list_runs([runs], where=["model.width < 16", "train.epochs=2"])) == ["gru-8"]
    assert _names(list_runs([runs], where=["model=gru", "model.width!=8"])) == ["gru-16"]
    assert _names(list_runs([runs], where=["test.ndcg@10>=0"])) == ["gru-8"]
    assert _names(list_runs([runs], where=["date>2000-01-01"], model="popularity")) == ["popularity"]
    assert _names(list_runs([runs], where=["date<2000-01-01"])) == []
    hashed = read_record(runs / "gru-8").dataset
    assert (
        len(list_runs([runs], dataset=hashed[:6]).runs)
        == len(list_runs([runs], dataset=str(runs / "dataset")).runs)
        == 3
    )
    assert _names(list_runs([runs], dataset="f" * 64)) == []
    assert list_runs([runs], model="gru").found == 3


def test_runs_are_sorted_with_the_best_first_and_the_unmeasured_last(runs: Path) -> None:
    assert _names(list_runs([runs], sort="test.ndcg@10"))[0] == "gru-8"
    widths = _names(list_runs([runs], sort="model.width"))
    assert widths == ["gru-8", "gru-16", "popularity"]
    assert _names(list_runs([runs], sort="model.width", reverse=True)) == ["gru-16", "gru-8", "popularity"]
    values = [record.validation["ndcg@10"] for record in list_runs([runs], sort="valid.ndcg@10").runs]
    assert values == sorted(values, reverse=True)


def test_what_no_run_has_is_an_error_with_the_nearest(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"'model\.widht'; did you mean 'model\.width'"):
        list_runs([runs], where=["model.widht=8"])
    with pytest.raises(ConfigError, match="did you mean 'seconds'"):
        list_runs([runs], sort="second")
    with pytest.raises(ConfigError, match="is no condition"):
        list_runs([runs], where=["model.width"])
    with pytest.raises(ConfigError, match="unknown model among the runs 'grru'; did you mean 'gru'"):
        list_runs([runs], model="grru")
    with pytest.raises(FormatError, match="no such folder"):
        list_runs([runs / "nowhere"])


def test_the_list_is_legible_in_eighty_columns(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(runs)
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line for line in lines if line.split()[:2] == ["deeper/popularity", "popularity"]]
    assert len(named) == 1, "names are whole"
    assert sum("last/none" in line for line in lines) == 3
    assert max(map(len, lines)) <= 80


def test_unfinished_and_damaged_runs_are_told(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs / "gru-8", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "model")
    shutil.copytree(runs / "gru-8", tmp_path / "damaged")
    (tmp_path / "damaged" / "config.toml").write_text("seed = ")
    found = list_runs([tmp_path])
    assert [record.state for record in found.runs] == ["unfinished"]
    assert found.runs[0].seconds is not None
    assert [Path(one.path).name for one in found.unreadable] == ["damaged"]
    assert main(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "(unfinished)" in printed.out
    assert "runs: 1" in printed.out
    assert "is not valid TOML" in printed.err


def test_a_difference_names_what_differs_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    found = run_differences(runs / "gru-8", runs / "gru-16")
    settings = [(one.name, one.a, one.b) for one in found.differences if one.kind == "settings"]
    assert ("model.width", 8, 16) in settings
    assert all(name.startswith("model.") for name, _, _ in settings)
    assert found.comparable
    kinds = {one.kind for one in found.differences}
    assert {"dataset", "revision", "environment"}.isdisjoint(kinds)
    assert {"training", "validation", "test"} <= kinds
    shutil.copytree(runs / "gru-8", tmp_path / "copy")
    same = run_differences(runs / "gru-8", tmp_path / "copy")
    assert same.differences == []
    assert same.same["dataset"] == 1
    with pytest.raises(FormatError, match="is no run folder"):
        run_differences(runs / "gru-8", runs / "dataset")


def test_other_data_does_not_compare(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = prepare(chain_events(users=40, items=10, length=8, noise=0.2, seed=1), tmp_path / "dataset")
    train(other, "popularity", tmp_path / "run", protocol="last")
    found = run_differences(runs / "deeper" / "popularity", tmp_path / "run")
    assert found.differences[0].kind == "dataset"
    assert not found.comparable
    assert main(["runs", "diff", str(runs / "deeper" / "popularity"), str(tmp_path / "run")]) == 0
    assert "metrics don't compare" in capsys.readouterr().out
