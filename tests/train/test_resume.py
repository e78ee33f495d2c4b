"""A training killed at random points and resumed ends with the same bits as one that never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from forked import Forked
from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events

SETTINGS = {
    "sasrec": ["--model", "sasrec", "--set", "model.loss=sampled_softmax", "--set", "model.negatives=16"],
    "lstm": ["--model", "lstm", "--set", "train.schedule=plateau", "--set", "train.patience=3"],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    prepare(chain_events(users=60, items=20, length=12, noise=0.3, seed=0), folder / "dataset")
    return folder / "dataset"


def _arguments(dataset: Path, run: Path, name: str) -> list[str]:
    common = ["train.epochs=6", "train.batch_tokens=64", "train.validate_every=0.4", "model.width=16"]
    settings = [argument for setting in common for argument in ("--set", setting)]
    return [str(dataset), "-o", str(run), "--protocol", "last", *SETTINGS[name], *settings]


def _outcome(run: Path) -> tuple[bytes, list[dict[str, object]]]:
    """The weights, and every metric line without what the clock and the memory say."""
    timed = ("seconds", "events_per_second", "peak_memory")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if key not in timed} for line in lines]
    # a look at the loss is also taken when a session ends, so training lines may be cut differently, and every session
    # has a line of its own
    return (run / "model" / "weights.safetensors").read_bytes(), [
        line for line in kept if line["kind"] not in ("train", "start")
    ]


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def unbroken(request: pytest.FixtureRequest, dataset: Path, tmp_path_factory: pytest.TempPathFactory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    assert main(["train", *_arguments(dataset, run, request.param)]) == 0
    return request.param, _outcome(run), len((run / "metrics.jsonl").read_text().splitlines())


def _killed_and_resumed(unbroken, dataset: Path, run: Path, rng: random.Random) -> None:
    name, expected, lines = unbroken
    wanted = rng.randrange(0, lines)  # kill once this many lines of metrics are out
    arguments = _arguments(dataset, run, name)
    process = Forked("train", *arguments)
    metrics = run / "metrics.jsonl"
    while process.poll() is None and (not metrics.is_file() or metrics.read_bytes().count(b"\n") < wanted):
        time.sleep(0.002)
    process.kill()
    process.finish()
    assert main(["train", *arguments, "--resume"]) == 0
    assert _outcome(run) == expected


def test_killed_at_random_points(unbroken, dataset: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("ONWARD_SEED", random.randrange(10**6)))
    print(f"ONWARD_SEED={seed}")
    for attempt in range(2):
        _killed_and_resumed(unbroken, dataset, tmp_path / f"run-{attempt}", random.Random(f"{seed}-{attempt}"))


@pytest.mark.full
def test_killed_at_many_random_points(unbroken, dataset: Path, tmp_path: Path) -> None:
    for attempt in range(15):
        _killed_and_resumed(unbroken, dataset, tmp_path / f"run-{attempt}", random.Random(attempt))


def test_ctrl_c_keeps_the_checkpoint_and_says_how_to_resume(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [*_arguments(dataset, run, "lstm"), "--set", "train.epochs=500", "--set", "train.patience=500"]
    process = Forked("train", *arguments, "--json")
    while process.poll() is None and not (run / "checkpoints" / "last.safetensors").is_file():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, printed, errors = process.finish()
    assert code == 130, errors
    assert json.loads(printed)["error"]["code"] == "stopped"
    assert "--resume" in errors
    assert "Traceback" not in errors
    steps = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    with safe_open(str(run / "checkpoints" / "last.safetensors"), framework="pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == steps


def test_resume_refuses_other_settings_and_other_data(dataset: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    arguments = _arguments(dataset, run, "lstm")
    assert main(["train", *arguments]) == 0
    assert main(["train", *arguments, "--set", "model.width=8", "--resume"]) == 2
    assert "model.width is 16 there, 8 here" in capsys.readouterr().err
    prepare(chain_events(users=60, items=20, length=12, noise=0.3, seed=1), tmp_path / "other")
    assert main(["train", str(tmp_path / "other"), "-o", str(run), "--resume"]) == 2
    assert "another dataset" in capsys.readouterr().err
