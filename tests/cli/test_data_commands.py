"""`onward prepare`, `data list` and `data describe`, as a person and a program see them."""

from __future__ import annotations

import json

import pytest

from onward.cli.main import main


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "events.csv").write_text(
        "customer,sku,ts,event,quantity\n"
        "ann,p1,2024-01-01T10:00:00Z,view,\n"
        "ann,p1,2024-01-01T10:05:00Z,buy,2\n"
        "bob,p2,2024-01-02T10:00:00Z,view,\n"
    )
    (tmp_path / "products.csv").write_text("sku,title,categories\np1,Tent [2P],camping|sale\np2,,sale\n")
    return tmp_path


def test_prepare_says_what_it_found(shop, capsys):
    items = ["--items", str(shop / "products.csv")]
    assert main(["prepare", str(shop / "events.csv"), "-o", str(shop / "data"), *items]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 events of 2 users on 2 items" in printed
    assert "user = column 'customer' (found by its name)" in printed
    assert "times are dates and times" in printed
    assert "2024-01-01 10:00:00 to 2024-01-02 10:00:00 UTC" in printed


def test_prepare_as_json(shop, capsys):
    assert main(["prepare", str(shop / "events.csv"), "-o", str(shop / "data"), "--user", "customer", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.prepare/1"
    assert payload["manifest"]["actions"] == ["buy", "view"]
    assert payload["manifest"]["roles"]["value"] == "quantity"
    assert "user = column 'customer' (given)" in payload["manifest"]["decisions"]


def test_describe(shop, capsys):
    items = ["--items", str(shop / "products.csv")]
    assert main(["prepare", str(shop / "events.csv"), "-o", str(shop / "data"), *items]) == 0
    capsys.readouterr()
    assert main(["data", "describe", str(shop / "data"), "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.data.describe/1"
    rows = {(row["table"], row["name"]): row for row in payload["columns"]}
    assert rows["events", "value"]["missing"] == pytest.approx(2 / 3)
    assert rows["events", "action"]["different"] == 2
    assert rows["items", "title"] == {
        "table": "items",
        "name": "title",
        "kind": "text",
        "missing": 0.5,
        "different": 1,
        "example": "Tent [2P]",
        "known_at_request": False,
        "measure": "characters",
        "low": 9.0,
        "high": 9.0,
        "histogram": [{"label": "9", "share": 1.0}],
        "drift": None,
    }
    assert rows["items", "categories"]["kind"] == "categories"
    assert payload["history_lengths"] == {"min": 1, "median": 1, "max": 2}
    assert main(["data", "describe", str(shop / "data")]) == 0
    printed = capsys.readouterr().out
    assert "actions: buy, view" in printed
    assert "Tent [2P]" in printed


def test_list_tells_terms_and_how_to_have_each(capsys):
    assert main(["data", "list", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    entries = {entry["name"]: entry for entry in payload["datasets"]}
    assert entries["ml-100k"]["get"] == "onward data get ml-100k"
    assert entries["ml-1m"]["get"] is None
    assert main(["data", "list"]) == 0
    assert "no commercial use" in " ".join(capsys.readouterr().out.split())


def test_get_from_the_cache(ml100k, tmp_path, capsys):
    assert main(["data", "get", "ml-100k", "-o", str(tmp_path / "here")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "terms: free for research, no commercial use" in printed
    assert f"next: onward prepare {tmp_path / 'here'}" in printed
    assert (tmp_path / "here" / "ml-100k.inter").is_file()
    assert main(["data", "get", "ml-10k"]) == 2


def test_a_progress_bar_comes_only_on_a_terminal_and_when_it_takes_long(capsys, monkeypatch):
    from onward.cli.prepare import progress_after

    for terminal, seconds, shown in (("1", 0, True), ("1", 60, False), ("0", 0, False)):
        monkeypatch.setenv("TTY_COMPATIBLE", terminal)
        with progress_after(seconds) as report:
            report("reading", 1, None)
            report("sorting", 1, 2)
        assert ("sorting" in capsys.readouterr().err) == shown
