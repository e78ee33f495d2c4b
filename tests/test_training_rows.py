"""What reports say of the rows that a model trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onward.cli.main import main
from onward.config import RunConfig
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.training_rows import training_rows


def _of(**values: object) -> str:
    rows = training_rows(RunConfig.parse(values))
    assert rows is not None
    return rows.text


def test_in_words() -> None:
    assert _of(model={"name": "gru"}) == "windows: all; augmentation: none"
    assert _of(model={"name": "bsarec"}) == "windows: prefix; augmentation: none"
    assert _of(model={"name": "gru"}, train={"windows": "last", "augment": ["crop", "drop"], "augment_rows": 0.3}) == (
        "windows: last; augmentation: crop, drop (30% of rows, strength 0.2)"
    )
    assert _of(model={"name": "gru", "contrastive": 0.1}) == (
        "windows: all; augmentation: none; contrast: weight 0.1, views by dropout"
    )
    assert _of(model={"name": "gru", "contrastive": 0.1}, train={"augment": ["mask"]}) == (
        "windows: all; augmentation: mask (50% of second views, strength 0.2); "
        "contrast: weight 0.1, views by augmentation and dropout"
    )
    assert training_rows(RunConfig.parse({"model": {"name": "markov"}})) is None


def test_every_report_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(chain_events(users=40, items=12, length=8, noise=0.1, seed=0), tmp_path / "dataset")
    runs = {"plain": [], "prefix": ["train.windows=prefix", "train.augment=['crop']"]}
    for name, settings in runs.items():
        chosen = [word for setting in ["train.epochs=1", *settings] for word in ("--set", setting)]
        run = str(tmp_path / name)
        assert main(["train", str(tmp_path / "dataset"), "-m", "gru", "-o", run, "--protocol", "last", *chosen]) == 0
    capsys.readouterr()
    said = "windows: prefix; augmentation: crop (50% of rows, strength 0.2)"
    assert main(["evaluate", str(tmp_path / "prefix")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown
    assert "protocol 'last'" in shown
    card = (tmp_path / "prefix" / "model" / "README.md").read_text()
    assert "| windows | prefix |" in card
    assert "| augmentation | crop (50% of rows, strength 0.2) |" in card
    report = tmp_path / "report.html"
    assert main(["compare", str(tmp_path / "plain"), str(tmp_path / "prefix"), "-o", str(report)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"training rows: {said} (prefix)" in shown
    assert "training rows: windows: all; augmentation: none (plain)" in shown
    html = report.read_text()
    assert "<td>prefix</td><td>crop (50% of rows, strength 0.2)</td><td>none</td>" in html
    assert "<td>all</td><td>none</td><td>none</td>" in html
    assert main(["compare", str(tmp_path / "plain"), str(tmp_path / "prefix"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sorted(row["training_rows"]["windows"] for row in rows) == ["all", "prefix"]
    assert [row["training_rows"] for row in rows] == [row["evaluation"]["training_rows"] for row in rows]
