"""The page of the family: what was measured elsewhere stays on it, what is measured here takes its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import family


def _measured(folder: Path, model: str, trial: str, ndcg: float) -> None:
    metrics = {"ndcg@10": {"value": ndcg, "low": ndcg - 0.002, "high": ndcg + 0.002}, "hr@10": {"value": 2 * ndcg}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{model}.test.json").write_text(json.dumps({"trial": trial, "metrics": metrics}))
    (folder / f"{trial}.json").write_text(json.dumps({"seconds": 90.0}))


def test_rows_measured_elsewhere_stay_and_those_measured_here_replace_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, first, second = tmp_path / "FAMILY.md", tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(family, "KEPT", first)
    for model, trial, ndcg in (("sasrec", "sasrec-0.2", 0.05), ("gru", "gru-0.5", 0.03), ("markov", "markov", 0.04)):
        _measured(first / "amazon-toys", model, trial, ndcg)
    _measured(first / "amazon-beauty", "gru", "gru-0.2", 0.02)
    family.report(page)
    monkeypatch.setattr(family, "KEPT", second)
    _measured(second / "amazon-toys", "hstu", "hstu-0.2", 0.045)
    _measured(second / "amazon-toys", "gru", "gru-0.2", 0.035)
    family.report(page)
    beauty, toys = page.read_text().split("\n## ")[1:]
    assert beauty.startswith("amazon-beauty\n")
    assert beauty.splitlines()[6:] == ["| gru | 0.2 | 0.0200 | 0.0180 to 0.0220 | 0.0400 | 1.5 |"]
    assert toys.splitlines()[6:] == [
        "| sasrec | 0.2 | 0.0500 | 0.0480 to 0.0520 | 0.1000 | 1.5 |",
        "| hstu | 0.2 | 0.0450 | 0.0430 to 0.0470 | 0.0900 | 1.5 |",
        "| markov |  | 0.0400 | 0.0380 to 0.0420 | 0.0800 | 1.5 |",
        "| gru | 0.2 | 0.0350 | 0.0330 to 0.0370 | 0.0700 | 1.5 |",
    ]
    assert "No figure: random, popularity, personal-frequency, item-knn," in toys
    written = page.read_text()
    family.report(page)
    assert page.read_text() == written
