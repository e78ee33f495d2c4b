"""`onward auto` and `onward tune` on a small log: what they write, Ctrl-C, kill -9, the command that trains again."""

from __future__ import annotations

import json
import random
import re
import shlex
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from forked import Forked
from onward.cli.main import main
from onward.config import read_toml
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.errors import ConfigError
from onward.search.run import auto

MODELS = ["--models", "personal-frequency,gru", "--protocol", "last", "--budget", "10m"]
GIVEN = ["train.epochs=3", "train.learning_rate=0.01", "model.width=16", "model.dropout=0.1"]
SETTINGS = [word for setting in GIVEN for word in ("--set", setting)]
"""What is left to search are a few values, so that a search ends long before its budget does."""
ENDLESS = ["--set", "train.epochs=3", "--set", "model.width=16"]
"""What is left to search never comes to an end."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    prepare(chain_events(users=60, items=20, length=12, noise=0.3, seed=0), folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="module")
def searched(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A search over one trained model and two fitted ones."""
    folder = tmp_path_factory.mktemp("search") / "search"
    assert main(["auto", str(dataset), "-o", str(folder), *MODELS, *SETTINGS]) == 0
    return folder, json.loads((folder / "result.json").read_text())


def trials(folder: Path) -> int:
    """Trials in the study file, as another program sees them: what was cut off in mid-commit is rolled back first."""
    if not (folder / "study.db").is_file():
        return 0
    with sqlite3.connect(f"file:{folder / 'study.db'}?mode=rw", uri=True) as study:
        try:
            repeated = "SELECT trial_id FROM trial_user_attributes WHERE key = 'same_as'"
            return int(study.execute(f"SELECT count(*) FROM trials WHERE trial_id NOT IN ({repeated})").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are still being made
            return 0


def test_the_result(searched: tuple[Path, dict]) -> None:
    folder, result = searched
    families = {family["model"]: family for family in result["families"]}
    assert set(families) == {"popularity", "personal-frequency", "gru"}
    assert all(family["complete"] >= 1 for family in families.values())
    assert result["best"] == result["families"][0]["model"] == result["test"][0]["model"]
    assert result["families"][0]["validation"] == max(family["validation"] for family in families.values())
    assert [row["model"] for row in result["test"]] == [family["model"] for family in result["families"]]
    assert result["test"][0]["difference"] is None
    assert all(row["p_holm"] is not None for row in result["test"][1:])
    assert result["tested_before"] == 0
    assert result["failures"] == []
    assert families["personal-frequency"]["settings"].keys() == {"model.half_life"}
    searched_of_gru = {"model.layers", "model.max_length", "train.batch_tokens", "train.warmup_steps", "train.epochs"}
    assert families["gru"]["settings"].keys() == searched_of_gru  # the others were given
    assert trials(folder) == sum(family["trials"] for family in families.values())


def test_the_command_trains_the_same_bits_again(searched: tuple[Path, dict], tmp_path: Path) -> None:
    folder, result = searched
    words = shlex.split(result["command"])
    assert words[:2] == ["onward", "train"]
    words[words.index("-o") + 1] = str(tmp_path / "again")
    assert main(words[1:]) == 0
    again = tmp_path / "again" / "model" / "weights.safetensors"
    assert again.read_bytes() == (folder / "best" / "weights.safetensors").read_bytes()


def test_the_best_bundle_recommends_and_knows_its_test(
    searched: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = searched
    assert main(["recommend", str(folder / "best"), "--history", "1,2"]) == 0
    assert capsys.readouterr().out
    (measured,) = json.loads((folder / "best" / "manifest.json").read_text())["metrics"]
    assert measured["part"] == "test"
    assert measured["values"]["ndcg@10"] == result["test"][0]["metrics"]["ndcg@10"]


def test_going_on_after_the_end_says_that_the_test_was_seen(
    searched: tuple[Path, dict], dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = searched
    assert main(["auto", str(dataset), "--budget", "10m", "--resume", "-o", str(folder), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["tested_before"] == len(result["families"])
    assert again["test"] == result["test"]
    assert again["families"][0]["validation"] == result["families"][0]["validation"]


def test_asking_for_something_else_on_resume_is_refused(searched: tuple[Path, dict], dataset: Path) -> None:
    folder, _ = searched
    assert main(["auto", str(dataset), "--resume", "-o", str(folder), "--seed", "7"]) == 2
    assert main(["auto", str(dataset), "-o", str(folder)]) == 2  # and what is there isn't overwritten unasked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "soon"], "is no time"),
        (["--protocol", "all"], '"last", "time"'),
        (["--models", "sasrce"], "did you mean 'sasrec'"),
        (["--models", "gru,gru"], "named twice"),
        (["--set", "train.epoch=3"], "unknown setting 'epoch'"),
        (["--resume"], "no search to go on with"),
    ],
)
def test_errors(words: list[str], said: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["auto", str(dataset), "-o", str(tmp_path / "search"), *words])
    assert code == 2
    assert said in capsys.readouterr().err


def test_a_search_needs_a_validation_part(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a validation part"):
        auto(dataset, tmp_path / "search", protocol="all")


def test_a_budget_that_is_too_small_says_the_least(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "search"
    assert main(["auto", str(dataset), "--budget", "1s", "-o", str(folder), "--protocol", "last"]) == 2
    said = re.search(r"--resume --budget (\S+), the least", capsys.readouterr().err)
    assert said


def test_tune_takes_one_model(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", str(dataset), "-m", "item-knn", "--budget", "10m", "-o", str(tmp_path / "search"), "--json"]
    given = ["--set", "model.similarity=cosine", "--set", "model.shrinkage=0", "--set", "model.neighbours=20"]
    assert main([*words, *given]) == 0
    result = json.loads(capsys.readouterr().out)
    knn = next(family for family in result["families"] if family["model"] == "item-knn")
    assert knn["settings"].keys() == {"model.recency"}
    assert knn["trials"] > 3
    assert {family["model"] for family in result["families"]} == {"item-knn", "popularity"}


def test_a_search_is_replaced_where_that_is_asked_for(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["auto", str(dataset), "-o", str(tmp_path / "search"), "--models", "markov", "--protocol", "last"]
    assert main([*words, "--budget", "10m"]) == 0
    assert main([*words, "--budget", "10m"]) == 2
    said = capsys.readouterr().err
    assert "--overwrite" in said
    assert "--resume" in said
    assert main([*words, "--budget", "10m", "--seed", "3", "--overwrite"]) == 0
    assert "seed = 3" in (tmp_path / "search" / "search.toml").read_text()


def _start(dataset: Path, folder: Path, *more: str) -> Forked:
    words = [str(dataset), "-o", str(folder), "--protocol", "last", "--budget", "10m", *more]
    return Forked("auto", *words)


def _wait_for(folder: Path, count: int, process: Forked) -> None:
    end = time.monotonic() + 120
    while trials(folder) < count:
        assert process.poll() is None, process.finish()
        assert time.monotonic() < end, "no trial in two minutes"
        time.sleep(0.02)


def test_ctrl_c_keeps_the_best_so_far(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "search"
    process = _start(dataset, folder, "--models", "markov,gru", *SETTINGS)
    _wait_for(folder, 4, process)
    process.send_signal(signal.SIGINT)
    code, out, said = process.finish()
    assert code == 130, said
    assert out == ""
    assert "--resume" in said
    assert read_toml(folder / "best" / "config.toml")["model"]["name"] in ("popularity", "markov", "gru")
    assert main(["recommend", str(folder / "best"), "--history", "1"]) == 0
    assert not list(folder.glob("trials/*/evaluation/test"))  # the test was not looked at


def _killed_and_resumed(dataset: Path, folder: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    known = 0
    for kill in range(kills):
        process = _start(dataset, folder, *(["--resume"] if kill else ["--models", "markov,gru", *ENDLESS]))
        _wait_for(folder, known + rng.randrange(1, 4), process)
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.finish()
        now = trials(folder)
        assert now > known  # what had ended is there, whatever was running
        known = now
    assert main(["auto", str(dataset), "-o", str(folder), "--resume", "--budget", "0s"]) == 0  # the test, at once
    result = json.loads((folder / "result.json").read_text())
    assert sum(family["trials"] for family in result["families"]) >= known
    assert result["failures"] == []
    with sqlite3.connect(folder / "study.db") as study:
        assert study.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert study.execute("SELECT count(*) FROM trials WHERE state = 'RUNNING'").fetchone() == (0,)


def test_killed_twice_it_loses_the_running_trial_at_most(dataset: Path, tmp_path: Path) -> None:
    _killed_and_resumed(dataset, tmp_path / "search", kills=2, seed=0)


@pytest.mark.full
def test_killed_ten_times_it_loses_the_running_trial_at_most(dataset: Path, tmp_path: Path) -> None:
    _killed_and_resumed(dataset, tmp_path / "search", kills=10, seed=1)
