"""The loop: schedules, early stopping, failures that say what happened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onward.bundle import load_bundle
from onward.cli.main import main
from onward.config import TrainConfig
from onward.data.dataset import open_dataset
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.evaluate.protocol import evaluate
from onward.train.optim import learning_rate
from onward.train.run import train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    prepare(chain_events(users=80, items=12, length=10, noise=0.0, seed=0), folder / "dataset")
    return folder / "dataset"


def _lines(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_schedules_by_formula() -> None:
    config = TrainConfig(learning_rate=0.4, warmup_steps=4)
    rates = [learning_rate(config, step, 12) for step in range(12)]
    assert rates[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates[4] == pytest.approx(0.4)
    assert rates[8] == pytest.approx(0.2)  # half way down the cosine
    linear = config.model_copy(update={"schedule": "linear"})
    assert learning_rate(linear, 10, 12) == pytest.approx(0.1)
    plateau = config.model_copy(update={"schedule": "plateau"})
    assert learning_rate(plateau, 10, 12, plateaus=1) == pytest.approx(0.1)
    wsd = config.model_copy(update={"schedule": "wsd", "epochs": 3})
    assert [learning_rate(wsd, step, 12) for step in (3, 4, 8, 9)] == pytest.approx([0.4] * 4)  # 0.75 of 12 steps
    assert learning_rate(wsd, 10, 12) == pytest.approx(0.4 * (1 - (1 / 3) ** 0.5))
    early = wsd.model_copy(update={"decay_from": 1.5})
    assert learning_rate(early, 6, 12) == pytest.approx(0.4)
    assert learning_rate(early, 9, 12) == pytest.approx(0.4 * (1 - 0.5**0.5))
    constant = config.model_copy(update={"schedule": "constant"})
    assert learning_rate(constant, 11, 12) == pytest.approx(0.4)


def test_the_best_validated_weights_are_kept(dataset: Path, tmp_path: Path) -> None:
    settings = ["train.epochs=40", "train.patience=4", "model.width=16", "train.learning_rate=0.01"]
    done = train(dataset, "gru", tmp_path / "run", protocol="last", settings=settings, progress=False)
    validations = _lines(tmp_path / "run", "validation")
    best = max(validations, key=lambda line: line["ndcg@10"])
    assert done.validation["ndcg@10"] == pytest.approx(best["ndcg@10"])
    assert done.best_epoch == best["epoch"]
    assert len(validations) <= best["epoch"] + 4


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(dataset: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        train(
            dataset, "sasrec", tmp_path / name, protocol="last", seed=seed, settings=["train.epochs=1"], progress=False
        )
        return (tmp_path / name / "model" / "weights.safetensors").read_bytes()

    first = weights("a", 0)
    assert weights("b", 0) == first
    assert weights("c", 1) != first


def test_training_leaves_torch_generator_alone(dataset: Path, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state()
    train(dataset, "gru", tmp_path / "run", protocol="last", settings=["train.epochs=1"], progress=False)
    assert torch.equal(before, torch.get_rng_state())


def test_a_loss_that_explodes_stops_with_the_step_and_the_causes(dataset: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--set", "train.learning_rate=1e6", "--set", "train.warmup_steps=0", "--set", "model.dropout=0"]
    code = main(["train", str(dataset), "-m", "sasrec", "-o", str(tmp_path / "run"), "--protocol", "last", *arguments])
    error = capsys.readouterr().err
    assert code == 1
    assert "step" in error
    assert "learning rate is too high" in error
    assert "Traceback" not in error


def test_training_all_has_no_validation_and_runs_every_epoch(dataset: Path, tmp_path: Path) -> None:
    done = train(dataset, "gru", tmp_path / "run", protocol="all", settings=["train.epochs=2"], progress=False)
    assert done.validation == {}
    assert done.best_epoch == 2
    assert _lines(tmp_path / "run", "validation") == []


def test_refit_trains_on_validation_too(dataset: Path, tmp_path: Path) -> None:
    plain = train(dataset, "popularity", tmp_path / "plain", protocol="last", progress=False)
    refit = train(dataset, "popularity", tmp_path / "refit", protocol="last", refit=True, progress=False)
    manifests = [
        json.loads((done.folder / "model" / "manifest.json").read_text())["data"]["training_events"]
        for done in (plain, refit)
    ]
    assert manifests[1] - manifests[0] == 80
    assert refit.config.split.refit


def test_a_run_trained_again_divides_the_events_as_it_did(dataset: Path, tmp_path: Path) -> None:
    times = np.sort(open_dataset(dataset).histories.columns["time"])
    cuts = [int(times[len(times) * share // 10]) for share in (5, 7)]
    settings = [f"split.valid_from={cuts[0]}", f"split.test_from={cuts[1]}"]
    run = train(dataset, "popularity", tmp_path / "run", protocol="time", settings=settings, progress=False)
    evaluate(run.folder)
    again = train(dataset, "", tmp_path / "refit", like=run.folder, refit=True, progress=False)
    assert again.config.split == run.config.split.model_copy(update={"refit": True})
    last = train(dataset, "", tmp_path / "last", like=run.folder, protocol="last", progress=False)
    assert (last.config.split.protocol, last.config.split.test_from) == ("last", None)


def test_the_model_that_ships_learns_the_same_action(tmp_path: Path) -> None:
    events = chain_events(users=30, items=6, length=10, noise=0.0, seed=0)
    kinds = pl.int_range(pl.len()).mod(2).replace_strict({0: "view", 1: "purchase"}, return_dtype=pl.String)
    prepare(events.with_columns(action=kinds), tmp_path / "dataset")
    settings = ["split.target_action=purchase"]
    run = train(
        tmp_path / "dataset", "popularity", tmp_path / "run", protocol="last", settings=settings, progress=False
    )
    evaluate(run.folder)
    final = train(tmp_path / "dataset", "", tmp_path / "final", protocol="all", like=run.folder, progress=False)
    assert final.config.split.target_action == "purchase"


def test_the_model_that_ships_carries_the_evaluated_runs_numbers(dataset: Path, tmp_path: Path, capsys) -> None:
    settings = ["train.epochs=12", "train.patience=3", "model.width=8", "train.learning_rate=0.01"]
    run = train(dataset, "gru", tmp_path / "run", protocol="last", settings=settings, progress=False)
    again = ["train", str(dataset), "--protocol", "all", "-o", str(tmp_path / "ship"), "--like", str(run.folder)]
    assert main(again) == 2
    assert "has not been evaluated yet" in capsys.readouterr().err
    assert main([*again, "-m", "sasrec"]) == 2
    assert "trains its own model, 'gru', not 'sasrec'" in capsys.readouterr().err
    assert main(["evaluate", str(run.folder)]) == 0
    assert main(again) == 0
    assert f"next: onward export {tmp_path / 'ship'} -o model" in capsys.readouterr().out
    shipped, measured = (
        load_bundle(tmp_path / "ship"),
        json.loads((run.folder / "evaluation" / "test" / "metrics.json").read_text()),
    )
    assert shipped.config.train.epochs == max(1, round(run.best_epoch))
    assert shipped.config.model == run.config.model
    assert shipped.config.split.protocol == "all"
    assert shipped.config.split.request_time == "none"  # as the evaluated run; `all` by itself would tell the target's
    (carried,) = shipped.manifest.metrics
    assert carried.protocol == measured["protocol"]
    assert carried.values["ndcg@10"] == measured["metrics"]["ndcg@10"]
    prepare(chain_events(users=20, items=5, length=6), tmp_path / "other")
    elsewhere = ["train", str(tmp_path / "other"), "--protocol", "all", "-o", str(tmp_path / "elsewhere")]
    assert main([*elsewhere, "--like", str(run.folder)]) == 0
    assert not load_bundle(tmp_path / "elsewhere").manifest.metrics  # that run's numbers are of other data


def test_a_static_model_that_can_not_be_fitted_leaves_nothing_behind(dataset: Path, tmp_path: Path) -> None:
    prepare(chain_events(users=20, items=5, length=6).drop("time"), tmp_path / "timeless")
    arguments = [
        "-m",
        "popularity",
        "--set",
        "model.half_life_days=3",
        "--protocol",
        "last",
        "-o",
        str(tmp_path / "run"),
    ]
    assert main(["train", str(tmp_path / "timeless"), *arguments]) == 2
    assert not (tmp_path / "run").exists()


def test_the_model_that_leads_the_table_is_trained_where_none_is_named(dataset: Path, tmp_path: Path) -> None:
    settings = ["model.width=8", "train.epochs=1"]
    done = train(dataset, out=tmp_path / "run", protocol="last", settings=settings, progress=False)
    assert done.config.model["name"] == "esasrec"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "sasrce"], "did you mean 'sasrec'?"),
        (["-m", "sasrec", "--set", "train.epoch=3"], "unknown setting 'epoch'; did you mean 'epochs'?"),
        (["-m", "sasrec", "--set", "epochs=3"], "unknown setting 'epochs'; did you mean 'train.epochs'?"),
        (["-m", "sasrec", "--set", "width=3"], "those of a model are written model.NAME"),
        (["-m", "sasrec", "--set", "train.augment=crop, mask"], 'a list: train.augment=["crop", "mask"]'),
        (["-m", "sasrec", "--set", "train.augment=[crop]"], 'a list: train.augment=["crop"]'),
        (["-m", "sasrec", "--set", "train.learning_rate=-1"], "train.learning_rate = -1"),
        (["-m", "sasrec", "--set", "model.witdh=3"], "did you mean 'width'?"),
        (["-m", "sasrec", "--set", "model.width=many"], "model.width = 'many'"),
        (["-m", "sasrec", "--set", "epochs"], "not of the form key=value"),
        (["-m", "sasrec", "--set", "model.loss=mse"], "value column"),
        (["-m", "sasrec", "--set", "train.monitor=ndgc@10"], "train.monitor"),
        (["-m", "sasrec", "--config", "absent.toml"], "no such file: absent.toml"),
        (["-m", "sasrec", "--protocol", "all", "--refit"], "refit has no meaning"),
    ],
)
def test_bad_settings_are_named(arguments: list[str], said: str, dataset: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    common = ["--protocol", "last"] if "--protocol" not in arguments else []
    assert main(["train", str(dataset), "-o", str(run), *common, *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "Traceback" not in error
    assert not (run / "model").exists()


def test_json_errors_and_results(dataset: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    arguments = ["train", str(dataset), "-m", "popularity", "-o", str(run), "--protocol", "last", "--json"]
    assert main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["format"] == "onward.train/1"
    assert result["model"]["name"] == "popularity"
    assert main(arguments) == 2  # the folder exists now
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "output"
    assert "already exists" in error["message"]


def test_a_config_file_and_the_order_of_precedence(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('seed = 3\n[train]\nepochs = 1\n[model]\nname = "gru"\nwidth = 8\n[split]\nprotocol = "last"\n')
    done = train(dataset, out=tmp_path / "run", config=file, settings=["model.width=4"], seed=5, progress=False)
    assert (done.config.seed, done.config.train.epochs, done.config.model["width"]) == (5, 1, 4)
    assert done.config.split.protocol == "last"
