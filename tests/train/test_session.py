"""What a training logs of where it runs, of its gradients and its memory."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.train.optim import clip_gradients
from onward.train.records import read_record
from onward.train.run import train
from onward.train.session import environment, peak_memory, session


def _git(folder: Path, *words: str) -> str:
    named = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
    done = subprocess.run(["git", *named, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_of_the_current_folder_and_whether_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (session()["git_revision"], session()["git_dirty"]) == (None, None)  # no repository
    _git(tmp_path, "init")
    assert session()["git_revision"] is None  # no commit
    (tmp_path / "file").write_text("one")
    _git(tmp_path, "add", "file")
    _git(tmp_path, "commit", "-m", "first")
    (tmp_path / "untracked").write_text("is not a change")
    assert (session()["git_revision"], session()["git_dirty"]) == (_git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("two")
    assert session()["git_dirty"] is True
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (session()["git_revision"], session()["git_dirty"]) == (None, None)  # no git


def test_the_environment_names_versions() -> None:
    found = environment()
    assert found["packages.torch"] == torch.__version__
    assert found["packages.onward"]
    assert {"python", "system", "device", "threads"} <= set(found)


def test_the_norm_is_that_from_before_clipping() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients([parameter], 1.0).item() == pytest.approx(5.0)
    assert parameter.grad.norm().item() == pytest.approx(1.0, abs=1e-5)


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_memory()["peak_memory"]
    held = torch.ones(64 * 2**20 // 4 + before // 4)
    assert peak_memory()["peak_memory"] >= before + 32 * 2**20
    assert len(held)


def test_a_training_logs_them(tmp_path: Path) -> None:
    dataset = prepare(chain_events(users=40, items=10, length=8, noise=0.2, seed=0), tmp_path / "dataset")
    for model, settings in (("gru", ["train.epochs=1", "model.width=8"]), ("popularity", [])):
        run = tmp_path / model
        train(dataset, model, run, protocol="last", settings=settings, progress=False)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert [line["kind"] for line in lines].count("start") == 1
        assert lines[0]["kind"] == "start"
        assert read_record(run).environment == lines[0]["environment"]
        assert lines[-1]["peak_memory"] > 0
        for line in lines:
            if line["kind"] == "train":
                assert 0 < line["gradient_norm"] <= line["gradient_norm_max"]
