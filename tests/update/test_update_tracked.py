"""An update is one run of each tracker: its trainings, what the gate measured, and the file that holds it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from onward.bundle import export
from onward.cli.main import main
from onward.data.prepare import prepare
from onward.data.synthetic import drift_instant, drifting_events
from onward.runs import read_metrics
from onward.train.run import train
from onward.update import run as updating

USERS, LENGTH = 40, 10
SMALL = ["model.width=8", "model.dropout=0.0", "train.epochs=2", "train.batch_tokens=256"]


@pytest.mark.parametrize(("margin", "passed"), [("0.999", True), ("0", False)])
def test_an_update(
    margin: str,
    passed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    log = drifting_events(USERS, 20, LENGTH, 14, drift=0.0, noise=0.1)
    first = prepare(log.filter(pl.col("time") < drift_instant(USERS, LENGTH)), tmp_path / "first")
    prepare(log, tmp_path / "data")
    train(first, "gru", "run", protocol="all", settings=SMALL, progress=False)
    export(tmp_path / "run", tmp_path / "shop")
    trained: dict[str, list[tuple[int, float]]] = {}
    go_on = updating.go_on

    def seen(*given: object, **more: object) -> object:
        done = go_on(*given, **more)
        lines = read_metrics(done.folder / "metrics.jsonl")
        trained[done.folder.name] = [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]
        return done

    monkeypatch.setattr(updating, "go_on", seen)
    tiny = "fine_tune.learning_rate_share=1e-6"  # so that nothing is better, and not being worse is not enough
    settings = [f"margin={margin}", tiny, "fine_tune.epochs=1"]
    given = [word for setting in settings for word in ("--set", setting)]
    code = main(["update", "shop", "data", "--track", "mlflow,tensorboard", "--json", *given])
    assert code == (0 if passed else 3)
    result = json.loads(capsys.readouterr().out)
    assert list(trained) == (["candidate", "final"] if passed else ["candidate"])

    client = MlflowClient(Path("mlruns").absolute().as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("onward").experiment_id])
    for stage, points in trained.items():
        history = client.get_metric_history(found.info.run_id, f"{stage}/train/loss")
        assert [(one.step, one.value) for one in history] == points
    for model in ("current", "candidate"):
        estimate = result["gate"][model]["ndcg@10"]
        logged = [found.data.metrics[f"gate/{model}/ndcg_at_10{end}"] for end in ("", "_low", "_high")]
        assert logged == [estimate["value"], estimate["low"], estimate["high"]]
    assert found.data.metrics["gate/difference_low"] == result["gate"]["difference"]["low"]
    assert found.data.metrics["gate/passed"] == float(passed)
    assert found.data.params["dataset"] == result["plan"]["dataset"]
    assert found.data.params["config.margin"] == str(float(margin))
    (kept,) = client.list_artifacts(found.info.run_id)
    assert kept.path == ("manifest.json" if passed else "shop-2.refused.json")
    assert list(Path("shop-2.tracking/tensorboard").iterdir())
    assert not Path(".shop-2.update").exists()
    if passed:  # asked for again, it is there, and told once
        assert main(["update", "shop", "data", "--track", "mlflow", "--json", *given]) == 0
        assert len(client.search_runs([found.info.experiment_id])) == 1


def test_unknown_trackers_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    assert main(["update", str(tmp_path), str(tmp_path), "--track", "mlflo"]) == 2
    assert not list(tmp_path.iterdir())
