"""A training that somebody else may end: what it keeps, and that its settings then train it again to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from onward.config import read_toml
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.synthetic import chain_events
from onward.errors import ConfigError
from onward.runs import read_metrics
from onward.train.branch import branch
from onward.train.run import train
from onward.train.watch import AtOnce

SETTINGS = ["train.epochs=8", "train.batch_tokens=64", "model.width=16", "model.max_length=10"]


class EndAt:
    """Ends a training at one step, and remembers what it was told."""

    def __init__(self, step: int) -> None:
        self.step, self.ended, self.told = step, False, list[tuple[float, float]]()

    def stepped(self, step: int, per_epoch: int) -> bool:
        self.ended = step == self.step
        return self.ended

    def last_epoch(self, step: int, per_epoch: int) -> int | None:
        return None

    def validated(self, epochs: float, value: float) -> None:
        self.told.append((epochs, value))


class DecayAt(EndAt):
    """Lets the decay begin at one step, for so many epochs in all."""

    def __init__(self, step: int, epochs: int) -> None:
        super().__init__(-1)
        self.decay_step, self.epochs = step, epochs

    def last_epoch(self, step: int, per_epoch: int) -> int | None:
        return self.epochs if step == self.decay_step else None


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


WSD = ["train.schedule=wsd", "train.epochs=50", "train.warmup_steps=5"]


def test_a_decay_that_was_decided_on_the_way_is_trained_again_to_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    run = _train(data, tmp_path / "run", *WSD, watch=DecayAt(25, 4))
    config = read_toml(run / "config.toml")["train"]
    lines = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "validation"]
    per_epoch = lines[0]["step"]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (config["epochs"], config["decay_from"]) == (4, 25 / per_epoch)
    assert "stop_after" not in config
    train(data, "", tmp_path / "again", config=run / "config.toml", progress=False)
    assert _weights(tmp_path / "again") == _weights(run)


def test_a_run_that_goes_on_in_another_folder_ends_with_the_same_bits(data: Dataset, tmp_path: Path) -> None:
    """Paused at a constant step size, gone on with, and its decay decided then: as if it had never stopped."""
    whole = _train(data, tmp_path / "whole", *WSD, watch=DecayAt(25, 4))
    paused = _train(data, tmp_path / "paused", *WSD, watch=EndAt(22))
    before = _weights(paused)
    branch(paused, tmp_path / "on")
    train(data, out=tmp_path / "on", resume=True, progress=False, watch=DecayAt(25, 4))
    assert _weights(tmp_path / "on") == _weights(whole)
    assert _weights(paused) == before
    assert read_toml(tmp_path / "on" / "config.toml")["train"] == read_toml(whole / "config.toml")["train"]
    with pytest.raises(ConfigError, match="went to its end"):
        branch(whole, tmp_path / "further")


def test_what_was_stopped_can_be_closed_with_the_best_that_it_has(data: Dataset, tmp_path: Path) -> None:
    paused = _train(data, tmp_path / "paused", *WSD, watch=EndAt(22))
    branch(paused, tmp_path / "on")
    done = train(data, out=tmp_path / "on", resume=True, progress=False, watch=AtOnce())
    assert done.best_epoch == read_toml(paused / "config.toml")["train"]["stop_after"]
    assert _weights(tmp_path / "on") == _weights(paused)


class Killer(EndAt):
    """Raises at its second validation, after whose predecessor there was a checkpoint."""

    def validated(self, epochs: float, value: float) -> None:
        super().validated(epochs, value)
        if len(self.told) == 2:
            raise RuntimeError("killed")


def test_what_went_on_and_was_killed_goes_on_further_ahead(data: Dataset, tmp_path: Path) -> None:
    whole = _train(data, tmp_path / "whole", *WSD, watch=DecayAt(55, 7))
    paused = _train(data, tmp_path / "paused", *WSD, watch=EndAt(12))
    branch(paused, tmp_path / "on")
    with pytest.raises(RuntimeError, match="killed"):
        train(data, out=tmp_path / "on", resume=True, progress=False, watch=Killer(-1))
    branch(paused, tmp_path / "on")
    watch = DecayAt(55, 7)
    train(data, out=tmp_path / "on", resume=True, progress=False, watch=watch)
    assert _weights(tmp_path / "on") == _weights(whole)
    first = read_metrics(paused / "metrics.jsonl")
    again = [line["epoch"] for line in read_metrics(tmp_path / "on" / "metrics.jsonl") if line["kind"] == "validation"]
    assert again == sorted(again)
    assert watch.told[0][0] > 1 + max(line["epoch"] for line in first if line["kind"] == "validation")
