"""`onward recommend` and `onward export` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import block_events
from onward.train.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    prepare(block_events(users=30, blocks=3, block_items=6, length=5, seed=1), folder / "dataset")
    train(folder / "dataset", "markov", folder / "run", protocol="last", progress=False)
    return folder / "run"


def test_a_history_prints_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(run), "--history", "0, 1, nothing", "-k", "3"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "markov for this history"
    assert lines[1] == "after: 0, 1"
    assert lines[2].split() == ["rank", "id", "score"]
    assert [line.split()[0] for line in lines[3:]] == ["1", "2", "3"]
    assert "note: 'nothing' is not in the catalog" in err


def test_json_is_one_object(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(run), "--user", "3", "-k", "2", "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.recommendations/1"
    assert payload["user"] == "3"
    assert [one["rank"] for one in payload["items"]] == [1, 2]
    assert payload["items"][0].keys() == {"rank", "item", "title", "score"}
    assert len(payload["history"]) == 5
    assert payload["fallback"] is False


def test_an_unknown_user_is_answered(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(run), "--user", "nobody", "-k", "2"]) == 0
    out, err = capsys.readouterr()
    assert "after: nothing" in out
    assert "user 'nobody' is not in the dataset" in err
    assert "most popular" in err


def test_a_long_history_shows_its_newest(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", str(run), "--history", ",".join(map(str, range(12)))]) == 0
    assert "after: 4 more, then 4, 5, 6, 7, 8, 9, 10, 11\n" in capsys.readouterr().out


def test_all_writes_a_table(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lists.parquet"
    assert main(["recommend", str(run), "--all", "-k", "2", "-o", str(out), "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    frame = pl.read_parquet(out)
    assert frame.columns == payload["columns"] == ["user", "rank", "item", "score"]
    assert (payload["users"], payload["rows"], frame.height) == (30, 60, 60)
    before = out.read_bytes()
    assert main(["recommend", str(run), "--all", "-o", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["recommend", str(run), "--all", "-k", "1", "-o", str(out), "--overwrite"]) == 0
    assert pl.read_parquet(out).height == 30
    assert "30 recommendations for 30 users" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "recommend for whom?"),
        (["--user", "1", "--history", "2"], "recommend for whom?"),
        (["--user", "1", "--all"], "recommend for whom?"),
        (["--all"], "where to?"),
        (["--all", "-o", "lists.csv"], "where to?"),
        (["--user", "1", "-o", "lists.parquet"], "--out goes with --all"),
        (["--user", "1", "--only", "itme=1"], "did you mean 'item'?"),
        (["--user", "1", "-k", "0"], "k = 0"),
        (["--user", "1", "--dataset", "nowhere"], "nowhere"),
        (["--user", "1", "--seen", "maybe"], "maybe"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", str(run), *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in out + err
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "-o", str(tmp_path / "model")]) == 0
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    capsys.readouterr()
    assert main(["recommend", str(tmp_path / "model"), "--history", "1", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "format"
    assert "weights.safetensors does not match its recorded hash" in error["message"]


def test_export_carries_the_evaluation(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run)]) == 0
    capsys.readouterr()
    assert main(["export", str(run), "-o", str(tmp_path / "model"), "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["format"] == "onward.export/1"
    (entry,) = payload["manifest"]["metrics"]
    assert entry["part"] == "test"
    assert 0 <= entry["values"]["ndcg@10"]["value"] <= 1
    assert entry["protocol"]["split"] == "last"
    card = (tmp_path / "model" / "README.md").read_text()
    assert "On the test part" in card
    assert main(["recommend", str(tmp_path / "model"), "--history", "1"]) == 0
    capsys.readouterr()
    assert main(["export", str(run), "-o", str(tmp_path / "model")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["export", str(run), "-o", str(tmp_path / "model"), "--overwrite"]) == 0
    assert "metrics: test" in capsys.readouterr().out
