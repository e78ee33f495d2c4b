"""`onward store`: what it prints for people, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from onward.cli.main import main
from onward.serve.store.protocol import Event, Impression, open_store


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = open_store("shop.db")
    store.append([Event(f"e{number}", "ann" if number < 3 else "bob", "tea", None) for number in range(5)])
    store.log_impressions([Impression("r1", "ann", ("tea",), "top", None, "m", 5)], durable=True)
    store.close()
    return tmp_path


@pytest.mark.usefixtures("shop")
def test_count_copy_export_forget(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("stats", "backup -o copy.db", "export -o out", "forget ann"):
        assert main(["store", *line.split(), "--store", "shop.db"]) == 0
    said = capsys.readouterr().out
    assert "5 events of 2 users with 1 item\n" in said
    assert "1 list logged, 0 shown, 0 lost" in said
    assert "copy.db:" in said
    assert "onward prepare out/events.parquet --items out/items.parquet -o dataset" in said
    assert "removed: 3 events, 0 clicks, 0 shown lists, 1 logged list, 1 user" in said
    assert "the write-ahead log was overwritten and emptied" in said
    assert "models were not looked at" in said
    assert "backup" in said
    assert main(["store", "stats", "--store", "shop.db"]) == 0
    said = capsys.readouterr().out
    assert "2 events of 1 user with 1 item\n" in said
    assert "1 user forgotten\n" in said


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stats --store nowhere.db", "there is no store at nowhere.db"),
        ("forget ann --store nowhere.db", "there is no store at nowhere.db"),
        ("backup -o shop.db --store shop.db", "the file shop.db already exists hint: choose another name"),
        ("export -o . --store shop.db", "already exists hint: choose another name"),
        ("stats --store mysql://here/there", "no kind of store"),
    ],
)
def test_what_is_refused(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", *line.split()]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "--overwrite" not in error, "the commands of a store have no such option"
    assert not Path("nowhere.db").exists()
