"""`onward data audit` from a file to what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onward.cli.main import main


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    from onward.data.prepare import prepare

    log = tmp_path / "log.csv"
    rows = [f"u{user},{item},2024-01-{user + day:02d}" for user in range(1, 9) for day, item in enumerate("abcda")]
    log.write_text("user,item,time\n" + "\n".join(rows) + "\n", encoding="utf-8")
    prepare(log, tmp_path / "dataset")
    return tmp_path / "dataset"


def test_json(dataset, capsys):
    assert main(["data", "audit", str(dataset), "--protocol", "last", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.audit/1"
    overlap = next(finding for finding in payload["findings"] if finding["code"] == "time_overlap")
    # user u is tested on day u + 4; the last training event of all is user 8's on day 10
    assert (overlap["number"], overlap["of"]) == (5, 8)


def test_for_people(dataset, capsys):
    assert main(["data", "audit", str(dataset), "--protocol", "last"]) == 0
    printed = capsys.readouterr().out
    assert "Users tested before others' training events" in printed
    assert "5 of 8 test users (62.5%)" in " ".join(printed.split())
    assert "do:" in printed


def test_time_is_the_default(dataset, capsys):
    assert main(["data", "audit", str(dataset), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"]["protocol"] == "time"


def test_no_dataset_there(tmp_path, capsys):
    assert main(["data", "audit", str(tmp_path)]) == 2
    assert "is not a dataset folder" in capsys.readouterr().err
