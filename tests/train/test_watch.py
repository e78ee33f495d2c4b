"""A training that somebody else may end: what it keeps, and that its settings then train it again to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from onward.config import read_toml
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.runs import read_metrics
from onward.train.run import train

SETTINGS = ["train.epochs=8", "train.batch_tokens=64", "model.width=16", "model.max_length=10"]


class EndAt:
    """Ends a training at one step, and remembers what it was told."""

    def __init__(self, step: int) -> None:
        self.step, self.ended, self.told = step, False, list[tuple[float, float]]()

    def stepped(self, step: int, per_epoch: int) -> bool:
        self.ended = step == self.step
        return self.ended

    def validated(self, epochs: float, value: float) -> None:
        self.told.append((epochs, value))


class Nosy(EndAt):
    """Raises at a validation."""

    def validated(self, epochs: float, value: float) -> None:
        raise RuntimeError("seen enough")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    events = chain_events(users=60, items=20, length=12, noise=0.3, seed=0)
    return prepare(events, tmp_path_factory.mktemp("chain") / "dataset")


def _train(data: Dataset, folder: Path, *settings: str, watch: EndAt | None = None) -> Path:
    train(data, "gru", folder, protocol="last", settings=[*SETTINGS, *settings], progress=False, watch=watch)
    return folder


def _weights(run: Path) -> bytes:
    return (run / "model" / "weights.safetensors").read_bytes()


def test_ended_in_the_middle_it_keeps_the_best_and_says_how_to_have_it_again(data: Dataset, tmp_path: Path) -> None:
    lines = read_metrics(_train(data, tmp_path / "whole") / "metrics.jsonl")
    per_epoch = max(line["step"] for line in lines) // 8
    watch = EndAt(3 * per_epoch + 1)
    ended = _train(data, tmp_path / "ended", watch=watch)
    assert [epochs for epochs, _ in watch.told] == [1, 2, 3]
    config = read_toml(ended / "config.toml")
    assert config["train"]["epochs"] == 8
    best = max(watch.told, key=lambda told: told[1])[0]
    assert config["train"]["stop_after"] == best
    assert config == read_toml(ended / "model" / "config.toml")
    again = tmp_path / "again"
    train(data, "", again, config=ended / "config.toml", progress=False)
    assert _weights(again) == _weights(ended)
    assert _weights(ended) != _weights(tmp_path / "whole")


def test_stop_after_keeps_the_step_sizes_of_all_epochs(data: Dataset, tmp_path: Path) -> None:
    def rates(run: Path) -> dict[int, float]:
        return {line["step"]: line["learning_rate"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line}

    whole, part = rates(_train(data, tmp_path / "a")), rates(_train(data, tmp_path / "b", "train.stop_after=2.5"))
    assert max(part) == round(2.5 * max(whole) / 8)
    same = part.keys() & whole.keys()
    assert len(same) >= 2
    assert all(part[step] == whole[step] for step in same)


def test_the_shipped_model_decays_over_its_own_epochs(data: Dataset, tmp_path: Path) -> None:
    from onward.evaluate.protocol import evaluate

    run = _train(data, tmp_path / "run", "train.stop_after=2")
    evaluate(run)
    train(data, "", tmp_path / "final", protocol="all", like=run, progress=False)
    config = read_toml(tmp_path / "final" / "config.toml")["train"]
    assert config["epochs"] in (1, 2)
    assert "stop_after" not in config


def test_what_a_watch_raises_ends_the_training_without_a_model(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="seen enough"):
        _train(data, tmp_path / "run", watch=Nosy(0))
    assert not (tmp_path / "run" / "model").exists()
