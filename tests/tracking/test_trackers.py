"""Trackers by name, what becomes of those that fail or hang, and the sessions of a run."""

from __future__ import annotations

import json
import logging
import socket
import threading
from pathlib import Path

import pytest
from tracking_helpers import board, offer

from onward.errors import ConfigError, MissingExtraError
from onward.tracking import names, trackers
from onward.tracking.names import check_trackers
from onward.tracking.protocol import Logged
from onward.tracking.trackers import Trackers

CODE = """
import json, threading

go = threading.Event()

class Good:
    def begin(self, session):
        self.file = (session.folder / "said.txt").open("a")
        steps = [one.step for one in session.earlier]
        self.say("begin", session.id, session.redo_from, steps, session.settings["seed"])
        return "good-1"

    def say(self, *words):
        self.file.write(json.dumps(words) + "\\n")

    def log(self, logged):
        self.say("log", logged.step, dict(logged.metrics))

    def artifact(self, file, place):
        self.say("artifact", file.name, place)

    def end(self, state):
        self.say("end", state)
        self.file.close()

class Broken(Good):
    def begin(self, session):
        return "broken-1"

    def log(self, logged):
        raise OSError("no space left on device")

class Unmade:
    def __init__(self):
        raise RuntimeError("never made")

class Hanging(Good):
    def begin(self, session):
        go.wait()
        return "hanging-1"

    def end(self, state):
        pass
"""
POINTS = "\n".join(f"{name.lower()} = own_trackers:{name}" for name in ("Good", "Broken", "Unmade", "Hanging"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, and trackers that a package offers."""
    offer(tmp_path / "site", monkeypatch, CODE, POINTS, "own_trackers")
    monkeypatch.delitem(__import__("sys").modules, "own_trackers", raising=False)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text("seed = 7\n", encoding="utf-8")
    return folder


def _said(run: Path) -> list[list[object]]:
    return [json.loads(line) for line in (run / "said.txt").read_text(encoding="utf-8").splitlines()]


def _session(run: Path, *which: str) -> None:
    with Trackers(which, run) as some:
        some.begin({"git_revision": None})
        some.log(Logged(1, {"train/loss": 0.5}))
        some.log(Logged(2, {}))
        some.artifact(run / "config.toml", "top")


def test_a_tracker_is_told_everything_in_order(run: Path) -> None:
    _session(run, "good")
    told = [["log", 1, {"train/loss": 0.5}], ["artifact", "config.toml", "top"], ["end", "finished"]]
    assert _said(run) == [["begin", None, None, [], 7], *told]
    for error, redo_from in ((ConfigError("oh"), 2), (KeyboardInterrupt(), None)):
        with pytest.raises(type(error)), Trackers(["good"], run) as some:  # noqa: PT012 - the block is what is tested
            some.begin({}, [Logged(1, {"train/loss": 0.5})] if redo_from else [], redo_from)
            raise error
    later = [["begin", "good-1", 2, [1], 7], ["end", "failed"], ["begin", "good-1", None, [], 7], ["end", "stopped"]]
    assert _said(run)[4:] == later


@pytest.mark.parametrize(("name", "why"), [("broken", "no space left on device"), ("unmade", "never made")])
def test_one_that_fails_is_left_out_with_one_warning(
    run: Path, caplog: pytest.LogCaptureFixture, name: str, why: str
) -> None:
    with Trackers([name, "good"], run) as some:
        some.begin({})
        for step in range(5):
            some.log(Logged(step, {"train/loss": 1.0}))
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert f"tracker '{name}' is left out" in warning.message
    assert why in warning.message
    assert "metrics.jsonl has everything" in warning.message
    assert [word for word, *_ in _said(run)] == ["begin", *["log"] * 5, "end"]


def test_one_that_hangs_holds_nothing_up(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "END_SECONDS", 1.5)
    _session(run, "hanging")
    (warning,) = caplog.records
    assert "'hanging'" in warning.message
    assert "not done 1.5 s after the end" in warning.message
    import own_trackers

    own_trackers.go.set()
    for thread in threading.enumerate():
        if thread.name == "tracker hanging":
            thread.join(10)
            assert not thread.is_alive()
    assert len(caplog.records) == 1
    assert json.loads((run / "tracking.json").read_text()) == {"hanging": "hanging-1"}


def test_a_server_that_is_away_and_a_folder_that_can_t_be_written(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        (run / "tensorboard").write_text("in the way")
        _session(run, "mlflow", "tensorboard", "good")
    warned = sorted(record.message for record in caplog.records if record.name == "onward.tracking")
    assert ["mlflow" in warned[0], "tensorboard" in warned[1], len(warned)] == [True, True, 2]
    assert _said(run)[-1] == ["end", "finished"]


def test_event_files_of_two_sessions_in_one_second_are_one_run(run: Path) -> None:
    for redo_from in (None, 2):
        with Trackers(["tensorboard"], run) as some:
            some.begin({"git_revision": "f00"}, redo_from=redo_from)
            for step in range(redo_from or 1, 4):
                some.log(Logged(step, {"train/loss": 10.0 * (redo_from or 1) + step}))
    assert len(list((run / "tensorboard").iterdir())) == 2
    shown = board(run).Scalars("train/loss")
    assert [(one.step, one.value) for one in shown] == [(1, 11.0), (2, 22.0), (3, 23.0)]


def test_names(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(["tensorboard", "mlflow", "wandb", "good"])
    with pytest.raises(ConfigError, match="unknown tracker 'mlfow'; did you mean 'mlflow'"):
        check_trackers(["mlfow"])
    with pytest.raises(ConfigError, match="named twice"):
        check_trackers(["good", "good"])
    with pytest.raises(ConfigError, match="unknown tracker"):  # settings come from files, and run nothing
        check_trackers(["own_trackers:Good"])
    monkeypatch.setitem(names.BUILT_IN, "mlflow", ("onward.tracking.mlflow:MLflow", "no_such_module"))
    with pytest.raises(MissingExtraError) as caught:
        check_trackers(["mlflow"])
    assert "onward[mlflow]" in caught.value.hint
