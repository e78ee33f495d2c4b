"""`onward train --seeds`: one configuration, a run a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onward.bundle import load_bundle
from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.errors import ConfigError, OutputError
from onward.evaluate.compare import compare
from onward.evaluate.protocol import evaluate
from onward.runs import seed_runs
from onward.train.run import train
from onward.train.several import train_seeds

SMALL = ["train.epochs=1", "model.width=8"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    return prepare(chain_events(users=40, items=10, length=8, noise=0.2, seed=0), folder / "dataset").path


def test_each_run_is_the_one_of_its_seed(dataset: Path, tmp_path: Path) -> None:
    done = train_seeds(
        dataset, "gru", tmp_path / "gru", seeds=3, seed=4, protocol="last", settings=SMALL, progress=False
    )
    assert [run.name for run in seed_runs(tmp_path / "gru")] == ["seed-4", "seed-5", "seed-6"]
    assert [one.config.seed for one in done] == [4, 5, 6]
    alone = train(dataset, "gru", tmp_path / "alone", seed=5, protocol="last", settings=SMALL, progress=False)
    weights, same = (load_bundle(one.folder).manifest.files["weights.safetensors"] for one in (alone, done[1]))
    assert weights == same
    assert len({load_bundle(one.folder).manifest.files["weights.safetensors"] for one in done}) == 3
    (row,) = compare([tmp_path / "gru"], "valid").rows
    assert row.evaluation.metrics["ndcg@10"].value == pytest.approx(
        np.mean([one.validation["ndcg@10"] for one in done])
    )


def test_what_is_missing_is_trained_and_what_is_there_goes_on(dataset: Path, tmp_path: Path) -> None:
    train(dataset, "random", tmp_path / "random/seed-0", protocol="last")
    with pytest.raises(OutputError, match="seed-0"):
        train_seeds(dataset, "random", tmp_path / "random", seeds=2, protocol="last")
    train_seeds(dataset, "random", tmp_path / "random", seeds=2, protocol="last", resume=True)
    assert len(seed_runs(tmp_path / "random")) == 2


@pytest.mark.parametrize("model", ["gru", "random", "item-knn"])
def test_what_is_finished_stays_as_it_is(model: str, dataset: Path, tmp_path: Path) -> None:
    settings = SMALL if model == "gru" else []
    first = train(dataset, model, tmp_path / "runs/seed-0", protocol="last", settings=settings, progress=False)
    evaluate(first.folder)
    there = {file: file.stat().st_mtime_ns for file in first.folder.rglob("*")}
    done = train_seeds(
        dataset, model, tmp_path / "runs", seeds=2, protocol="last", settings=settings, resume=True, progress=False
    )
    assert done[0] == first
    assert {file: file.stat().st_mtime_ns for file in first.folder.rglob("*")} == there
    assert (done[1].folder / "model" / "manifest.json").is_file()
    with pytest.raises(ConfigError, match="other settings"):
        train(dataset, model, first.folder, protocol="last", settings=["split.valid_share=0.2"], resume=True)


def test_the_first_seed_may_come_from_the_settings(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('seed = 7\n[split]\nprotocol = "last"\n')
    train_seeds(dataset, "random", tmp_path / "a", seeds=2, config=tmp_path / "run.toml")
    assert [run.name for run in seed_runs(tmp_path / "a")] == ["seed-7", "seed-8"]
    train_seeds(dataset, "random", tmp_path / "b", seeds=2, config=tmp_path / "run.toml", settings=["seed=2"])
    assert [run.name for run in seed_runs(tmp_path / "b")] == ["seed-2", "seed-3"]


def test_what_can_not_be_several_seeds_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seeds = 1"):
        train_seeds(dataset, "random", tmp_path / "one", seeds=1)
    train(dataset, "random", tmp_path / "run", protocol="last")
    with pytest.raises(OutputError, match="is a run itself"):
        train_seeds(dataset, "random", tmp_path / "run", seeds=2, protocol="last")
    assert seed_runs(tmp_path / "run") == []
    assert seed_runs(tmp_path / "nowhere") == []


def test_the_commands_say_how_far_seeds_differ(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [word for setting in SMALL for word in ("--set", setting)]
    given = ["train", str(dataset), "-m", "gru", "--protocol", "last", "--seeds", "2", "-o", "gru", *small]
    assert main([*given, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    values = [run["validation"]["ndcg@10"] for run in found["runs"]]
    assert found["validation"]["ndcg@10"]["mean"] == pytest.approx(np.mean(values))
    assert found["validation"]["ndcg@10"]["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert main([*given, "--overwrite"]) == 0
    assert "±" in capfd.readouterr().out
    assert main(["train", str(dataset), "-m", "markov", "--protocol", "last", "-o", "markov"]) == 0
    assert main(["train", str(dataset), "-m", "gru", "--protocol", "last", "-o", "one", *small]) == 0
    capfd.readouterr()
    assert main(["compare", "markov", "gru", "one"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "t-test over users and seeds" in said
    assert "smallest change from 'markov' that is found with 80% power" in said
    assert "'gru' is the mean of 2 seeds" in said
    assert "one seed alone: one;" in said
