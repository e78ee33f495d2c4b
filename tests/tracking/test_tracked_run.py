"""A training that is killed and resumed, its evaluation and a report are one run of every tracker."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import board, wandb_config, wandb_history, wandb_records

from forked import Forked
from onward.cli.main import main
from onward.config import flat, read_toml
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events

TRACKERS = ("tensorboard", "mlflow", "wandb")
STEPS = {"train.epochs": 3, "train.batch_tokens": 16, "model.width": 8}
KILLED = """
import json, os, signal, sys, time
from pathlib import Path
from onward.train.run import train

class Killer:
    ended = False

    def last_epoch(self, step, per_epoch):
        return None

    def stepped(self, step, per_epoch):
        if step == per_epoch + 25:  # after a checkpoint, and a line of metrics that isn't in it
            until = time.monotonic() + 120
            while time.monotonic() < until and not told(step):
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    def validated(self, epochs, value):
        pass

def told(step):
    lines = Path(sys.argv[2], "metrics.jsonl").read_text().splitlines()
    losses = [file.read_text() for file in Path("mlruns").glob("*/*/metrics/train/loss")]
    known = Path(sys.argv[2], "tracking.json")
    all_begun = known.is_file() and len(json.loads(known.read_text())) == 3
    return all_begun and any(text.split()[-1] == str(json.loads(lines[-1])["step"]) for text in losses)

train(sys.argv[1], "gru", sys.argv[2], protocol="last", settings=sys.argv[3:], progress=False, watch=Killer())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed, resumed, evaluated and compared, with `mlruns/` beside it."""
    top = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
            patch.delenv(name, raising=False)
        prepare(chain_events(users=60, items=20, length=12, noise=0.3, seed=0), Path("dataset"))
        settings = [f"{key}={value}" for key, value in STEPS.items()]
        tracked = [*settings, f"track={json.dumps(TRACKERS)}"]
        code, _, said = Forked("dataset", "run", *tracked, code=KILLED).finish(150)
        assert code == -signal.SIGKILL, said
        given = [word for setting in settings for word in ("--set", setting)]
        command = ["train", "dataset", "-m", "gru", "-o", "run", "--protocol", "last", *given]
        assert main([*command, "--track", ",".join(TRACKERS), "--resume"]) == 0
        assert main(["evaluate", "run"]) == 0
        patch.chdir(top.parent)  # the run of MLflow is found from anywhere
        assert (
            main(["compare", str(top / "run"), "-o", str(top / "report.html"), "--dataset", str(top / "dataset")]) == 0
        )
    return top / "run"


def _lines(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


def _test_metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))["metrics"]


def test_it_was_killed_and_went_on(run: Path) -> None:
    assert len(_lines(run, "start")) == 2
    assert len(_lines(run, "validation")) == STEPS["train.epochs"]
    assert set(json.loads((run / "tracking.json").read_text())) == set(TRACKERS)


def test_tensorboard(run: Path) -> None:
    shown = board(run)
    for kind, name in (("train", "loss"), ("train", "gradient_norm"), ("validation", "ndcg@10"), ("end", "parameters")):
        points = [(one.step, one.value) for one in shown.Scalars(f"{kind}/{name}")]
        assert points == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in _lines(run, kind)]
    for name, estimate in _test_metrics(run).items():
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high")):
            (point,) = shown.Scalars(f"test/{name}{end}")
            assert point.value == pytest.approx(estimate[part], rel=1e-6)
    tensors = {tag: shown.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in shown.Tags()["tensors"]}
    assert read_toml(run / "config.toml")["dataset"] in tensors["settings/text_summary"]
    assert f"environment.python = {sys.version.split()[0]}" in tensors["facts/text_summary"]
    assert "batch_tokens = 16" in tensors["config.toml/text_summary"]
    assert "onward.evaluation/1" in tensors["evaluation/test/metrics.json/text_summary"]
    assert tensors["reports/report.html/text_summary"] == str(run.parent / "report.html")


def test_mlflow(run: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient((run.parent / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("onward")
    (found,) = client.search_runs([experiment.experiment_id])
    id = found.info.run_id
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    settings = flat(read_toml(run / "config.toml"))
    assert {key: found.data.params[key] for key in settings} == {key: str(value) for key, value in settings.items()}
    start = _lines(run, "start")[-1]
    assert found.data.tags.get("git_revision") == start["git_revision"]
    assert found.data.tags["environment.packages.torch"] == start["environment"]["packages.torch"]
    for kind, name in (("train", "loss"), ("train", "events_per_second"), ("validation", "ndcg@10")):
        history = client.get_metric_history(id, f"{kind}/{name.replace('@', '_at_')}")
        assert [one.step for one in history] == [line["step"] for line in _lines(run, kind)], "each step once"
        if name != "events_per_second":  # that of a step that was done again is another
            assert [one.value for one in history] == [line[name] for line in _lines(run, kind)]
    estimate = _test_metrics(run)["ndcg@10"]
    logged = [found.data.metrics[f"test/ndcg_at_10{end}"] for end in ("", "_low", "_high")]
    assert logged == [estimate["value"], estimate["low"], estimate["high"]]
    for kept, file in (("config.toml", run / "config.toml"), ("reports/report.html", run.parent / "report.html")):
        assert Path(client.download_artifacts(id, kept, str(tmp_path))).read_bytes() == file.read_bytes()
    assert [one.path for one in client.list_artifacts(id, "evaluation/test")] == ["evaluation/test/metrics.json"]


def test_wandb(run: Path) -> None:
    id = json.loads((run / "tracking.json").read_text())["wandb"]
    folders = sorted((run / "wandb").glob("offline-run-*"))
    assert len(folders) == 4  # killed, resumed, evaluated, compared: all of one run
    # a session that begins in the second of another has a number after the id
    assert {folder.name.split("-")[3] for folder in folders} == {id}
    records = wandb_records(next(folders[-1].glob("*.wandb")))
    history = wandb_history(records)
    for kind, name in (("train", "loss"), ("train", "peak_memory"), ("validation", "ndcg@10")):
        points = {step: values[f"{kind}/{name}"] for step, values in history.items() if f"{kind}/{name}" in values}
        assert points == {line["step"]: pytest.approx(line[name]) for line in _lines(run, kind)}
    estimate, last = _test_metrics(run)["ndcg@10"], history[max(history)]
    logged = [last[f"test/ndcg@10{end}"] for end in ("", "_low", "_high")]
    assert logged == pytest.approx([estimate["value"], estimate["low"], estimate["high"]])
    config = wandb_config(records)
    assert config["dataset"] == read_toml(run / "config.toml")["dataset"]
    assert config["facts"]["git_revision"] == _lines(run, "start")[-1]["git_revision"]
    assert (folders[-1] / "files" / "reports" / "report.html").is_file()
    assert (folders[1] / "files" / "config.toml").is_file()
