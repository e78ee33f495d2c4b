"""A log replayed through real servers: they answer as offline evaluation does, and a replay notices when they don't."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_helpers import Server, make_key

from onward.cli.main import main
from onward.client import Client
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.errors import ConfigError, FormatError
from onward.evaluate.protocol import evaluate
from onward.serve.replay.run import replay
from onward.train.run import train

USERS = 25
"""Of ml-100k; they give about 2,700 events."""


@pytest.fixture(scope="module")
def sample(ml100k: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The first users of ml-100k."""
    lines = (ml100k / "ml-100k.inter").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[1:] if int(line.split("\t")[0]) <= USERS]
    folder = tmp_path_factory.mktemp("sample")
    (folder / "sample.inter").write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
    return prepare(folder / "sample.inter", folder / "dataset")


@pytest.fixture(scope="module")
def runs(sample: Dataset) -> Path:
    """Runs by protocol: `last` reads no times, `time` is told the time of each request; `other` is another model."""
    folder = sample.path.parent / "runs"
    few = ["train.epochs=1", "train.warmup_steps=1"]
    train(sample.path, "sasrec", folder / "last", protocol="last", settings=few, progress=False)
    train(sample.path, "hstu", folder / "time", protocol="time", settings=few, progress=False)
    train(sample.path, "markov", folder / "other", protocol="last", progress=False)
    return folder


@pytest.mark.parametrize("protocol", ["last", "time"])
def test_the_server_answers_as_evaluation_does(sample: Dataset, runs: Path, tmp_path: Path, protocol: str) -> None:
    with Server(tmp_path, runs / protocol) as server, Client(server.url) as client:
        done = replay(runs / protocol, sample.path, client)
        assert done.agrees
        assert done.events == sample.manifest.events
        assert not done.refused
        evaluated = evaluate(runs / protocol, sample.path)
        assert done.requests == done.same == done.histories_same == evaluated.requests >= USERS
        assert done.left_out == 0
        assert done.distance < 1e-5
        for name, values in done.metrics.items():
            assert values.evaluated == pytest.approx(evaluated.metrics[name].value)
            assert values.online == pytest.approx(values.offline)
            # a user without a history gets popular items, whose ties evaluation takes in every order
            assert values.online == pytest.approx(values.evaluated, abs=1e-9 if protocol == "last" else 0.01)
        assert done.protocol == {"split": protocol, "request_time": _request_time(protocol), "seen": "exclude"}
        with pytest.raises(ConfigError, match="knows user"):  # its histories hold what is to be predicted
            replay(runs / protocol, sample.path, client)


def _request_time(protocol: str) -> str:
    return "target" if protocol == "time" else "none"


def test_another_data_set_is_refused(sample: Dataset, runs: Path, tmp_path: Path) -> None:
    other = prepare(sample.path.parent / "sample.inter", tmp_path / "other", min_item_events=2)
    with Client("http://127.0.0.1:9") as nowhere, pytest.raises(FormatError, match="was trained on data set"):
        replay(runs / "last", other.path, nowhere)


def test_another_model_gives_differences(
    sample: Dataset, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", str(runs / "last"), str(sample.path), "--limit", "10"]
    with Server(tmp_path, runs / "other") as server:
        with pytest.raises(SystemExit) as stopped:
            main([*words, "--url", server.url])
        said = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "they differ" in said
    assert "differs    user" in said
    assert "10 of 10 the same to the bit" in said


def test_other_rules_give_differences_and_keys_are_used(sample: Dataset, runs: Path, tmp_path: Path) -> None:
    denied = sample.catalog.ids[::2]
    key = make_key(tmp_path / "events.db", "write")
    rules = f"[rules]\ndeny = {denied}\n"
    with Server(tmp_path, runs / "last", settings=rules) as server, Client(server.url, key) as client:
        done = replay(runs / "last", sample.path, client, limit=10)
    assert not done.agrees
    assert done.same == 0
    assert done.requests == done.histories_same == 10
    assert done.events < sample.manifest.events
    for one in done.differences:
        kept = [item for item in one.offline if item not in denied]
        assert one.online[: len(kept)] == kept
        assert not set(denied) & set(one.online)
