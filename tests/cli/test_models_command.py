"""`onward models`: the table and each model's settings."""

from __future__ import annotations

import json
import re
from typing import Annotated

import pytest
from pydantic import Field

from onward.cli.main import main
from onward.config import Config
from onward.models.describe import describe_model, describe_settings
from onward.models.registry import MODELS
from onward.space import Range


class Sample(Config):
    """Settings with every form of bound."""

    width: Annotated[int, Range(8, 64, log=True)] = Field(64, ge=8, le=512)
    """Width of a state."""
    rate: float | None = Field(None, gt=0, lt=1)
    """Share that is dropped."""
    plain: bool = True
    """A switch."""


def test_settings_show_bounds_and_docstrings() -> None:
    width, rate, plain = describe_settings(Sample)
    assert width.as_dict() == {
        "name": "width",
        "type": "integer",
        "default": 64,
        "values": "≥ 8, ≤ 512",
        "about": "Width of a state.",
        "searched": "8 to 64, logarithmic",
    }
    assert (rate.type, rate.default, rate.values) == ("number or absent", None, "> 0, < 1")
    assert (plain.type, plain.values) == ("boolean", "")
    assert plain.searched == ""


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_what_it_is(name: str) -> None:
    entry = describe_model(name)
    assert entry.about.endswith(".")
    assert entry.kind == ("sequence" if entry.trainable else "static")
    assert entry.paper or name in ("random", "markov", "global-mean", "user-mean", "item-mean")
    assert all(setting.about for setting in entry.settings)
    assert (entry.cost is not None) == entry.trainable


def test_json_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.models/1"
    assert [entry["name"] for entry in payload["models"]] == list(MODELS)


def test_the_table_shows_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = {
        line.split()[0]: line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  ") and line[2] != " "
    }
    assert "63,360" in rows["sasrec"]
    assert "0.15 + 1.28" in rows["sasrec"]
    assert re.search(r"\d\.\d\d \+ \d", rows["popularity"]) is None
    assert main(["models", "sasrec"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "cost: 63,360 parameters, and 650,065 for 10,000 items; 0.15 + 1.28 million floating-point" in said


@pytest.mark.parametrize("name", ["esasrec", "popularity"])
def test_names_are_whole_in_eighty_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {model} " in listed for model in MODELS)
    assert main(["models", name]) == 0
    said = capsys.readouterr().out
    assert all(f"model.{setting.name} = " in said for setting in describe_model(name).settings)
    assert "…" not in listed + said


def test_settings_that_all_models_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "gru", "--json"]) == 0
    run = {one["name"]: one for one in json.loads(capsys.readouterr().out)["run"]}
    assert run["train.epochs"]["default"] == 30
    assert run["train.augment"]["values"] == "list of crop | mask | reorder | drop | insert | substitute"
    assert "split.last_share" in run
    assert all(one["about"] for one in run.values())
    assert main(["models", "gru"]) == 0
    assert "  train.augment = []" in capsys.readouterr().out
    assert main(["models", "popularity"]) == 0, "no loop trains it"
    said = capsys.readouterr().out
    assert "split.protocol = time" in said
    assert "train." not in said


def test_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "popularity"]) == 0
    text = capsys.readouterr().out
    assert "half_life_days" in text
    assert "absent" in text


def test_unknown_model_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "popularty"]) == 2
    assert "did you mean 'popularity'?" in capsys.readouterr().err
