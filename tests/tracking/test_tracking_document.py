"""The tracker that docs/tracking.md shows works: in training, evaluation and search; and one that fails stops none."""

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from tracking_helpers import offer

from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events

DOCUMENT = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, with the document's tracker installed."""
    (code,) = re.findall(r"```python\n# table_tracker.py\n(.*?)```", DOCUMENT, re.DOTALL)
    (project,) = re.findall(r"```toml\n# pyproject.toml\n(.*?)```", DOCUMENT, re.DOTALL)
    offered = tomllib.loads(project)["project"]["entry-points"]["onward.trackers"]
    code += '\n\nclass Broken(Table):\n    def begin(self, session):\n        raise OSError("the disk is full")\n'
    points = "\n".join(f"{name} = {target}" for name, target in {**offered, "broken": "table_tracker:Broken"}.items())
    offer(tmp_path / "site", monkeypatch, code, points, "table_tracker")
    monkeypatch.delitem(sys.modules, "table_tracker", raising=False)
    return prepare(chain_events(users=40, items=10, length=8, noise=0.2, seed=0), tmp_path / "dataset").path


def _rows(run: Path) -> list[list[str]]:
    with (run / "numbers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_training_and_evaluation(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        main(["train", str(dataset), "-m", "popularity", "-o", str(run), "--protocol", "last", "--track", "table"]) == 0
    )
    assert main(["evaluate", str(run)]) == 0
    assert (run / "config.toml").read_text().count('"table"') == 1
    rows = _rows(run)
    first = rows[: rows.index(["end", "finished", ""]) + 1]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (validation,) = (line for line in lines if line["kind"] == "validation")
    assert first[0][0] == "session"
    assert [str(validation["step"]), "validation/ndcg@10", str(validation["ndcg@10"])] in first
    assert first[-2] == ["file", "", "config.toml"]
    second = rows[len(first) :]
    estimate = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())["metrics"]["ndcg@10"]
    assert ["0", "test/ndcg@10_low", str(estimate["low"])] in second
    assert second[-2:] == [["file", "evaluation/test", "metrics.json"], ["end", "finished", ""]]


def test_one_that_fails_stops_no_training(dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = tmp_path / "run"
    settings = [word for setting in ("train.epochs=2", "model.width=8") for word in ("--set", setting)]
    tracked = ["--track", "broken,table", *settings]
    assert main(["train", str(dataset), "-m", "gru", "-o", str(run), "--protocol", "last", *tracked]) == 0
    (warning,) = caplog.records
    assert "tracker 'broken' is left out" in warning.message
    assert "the disk is full" in warning.message
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines if line["kind"] != "train"] == ["start", "validation", "validation", "end"]
    assert _rows(run)[-1] == ["end", "finished", ""]


def test_trials_of_a_search_are_runs(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    command = ["tune", str(dataset), "-m", "item-knn", "--budget", "6s", "--protocol", "last", "-o", str(out)]
    assert main([*command, "--track", "table"]) == 0
    kept = sorted((out / "trials").iterdir())  # each model's best, as many models as there was time for
    assert kept
    for trial in kept:
        rows = _rows(trial)
        sessions = [row for row in rows if row[0] == "session"]
        assert len(sessions) == len([row for row in rows if row[:2] == ["end", "finished"]]) >= 2
        assert [row for row in rows if row[1] == "test/ndcg@10"]


def test_unknown_trackers_are_refused_before_anything_is_done(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(dataset), "-m", "popularity", "-o", str(run), "--track", "tabel"]) == 2
    assert "did you mean 'table'" in capsys.readouterr().err
    assert not run.exists()
    assert main(["tune", str(dataset), "-m", "item-knn", "-o", str(run), "--track", "tabel"]) == 2
    assert "did you mean 'table'" in capsys.readouterr().err
    assert not run.exists()
