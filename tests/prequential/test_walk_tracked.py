"""A walk is one run of each tracker: a curve a policy over the periods, the figures of the whole, and its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from walk_helpers import turning_log, walk_run

from onward.cli.main import main

POLICIES = ("never", "full", "full:4")


def test_a_walk_and_the_same_walk_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    run = walk_run(tmp_path, turning_log(users=12), "popularity")
    command = ["prequential", str(run), "--every", "2d", "--policies", ",".join(POLICIES), "-o", "walk", "--json"]
    command += ["--track", "mlflow,tensorboard"]
    assert main(command) == 0
    assert main([*command, "--resume"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    client = MlflowClient(Path("mlruns").absolute().as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("onward").experiment_id])
    board = EventAccumulator("walk/tensorboard")
    board.Reload()
    for policy in result["policies"]:
        wanted = [(number, step["ndcg"]["value"]) for number, step in enumerate(policy["steps"])]
        name = f"{policy['policy']}/period/ndcg@10"
        history = client.get_metric_history(found.info.run_id, name.replace("@", "_at_"))
        assert [(one.step, one.value) for one in history] == wanted, "each period once"
        shown = [(one.step, one.value) for one in board.Scalars(name)]
        assert shown == [(step, pytest.approx(value, rel=1e-6)) for step, value in wanted]
        overall = policy["overall"]["metrics"]["ndcg@10"]
        logged = [found.data.metrics[f"{policy['policy']}/ndcg_at_10{end}"] for end in ("", "_low", "_high")]
        assert logged == [overall["value"], overall["low"], overall["high"]]
    assert found.data.params["dataset"] == result["dataset"]
    assert found.data.params["policies"] == str(list(POLICIES))
    assert "environment.packages.polars" in found.data.tags
    kept = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert kept == {"prequential.toml", "result.json", "report.html"}


def test_unknown_trackers_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    assert main(["prequential", str(tmp_path), "-o", str(tmp_path / "walk"), "--track", "mlflo"]) == 2
    assert not (tmp_path / "walk").exists()
