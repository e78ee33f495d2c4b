"""Onward by its own parts, those that `onward prepare`, `train`, `evaluate` and `recommend` call."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import protocol
import torch
from torch import Tensor

from onward.bundle import load_bundle, write_bundle
from onward.config import RunConfig, apply_settings, read_toml
from onward.data.dataset import open_dataset
from onward.data.epochs import TrainingBatches
from onward.data.prepare import prepare
from onward.data.sequences import Ints
from onward.data.split import split
from onward.evaluate.validate import validation_metrics
from onward.models.base import Recommender, build, make_items
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.preferences import preferences
from onward.train import loop
from onward.train.display import Display
from onward.train.gradients import Gradients

CALIBRATION_SECONDS = 5.0
"""Training that is thrown away, to know how many epochs a given time holds; its time counts."""


class _EnoughError(Exception):
    """The calibration has seen enough."""


class Onward(protocol.Driver):
    """A sequence model of Onward, protocol `last`."""

    def prepare(self) -> dict[str, Any]:
        """`onward prepare`, the split, and the model."""
        folder = Path(self.config["folder"]) / "dataset"
        prepare(self.config["data"], folder, overwrite=True)
        self.data = open_dataset(folder)
        recipe = self.config.get("recipe")
        values = read_toml(Path(recipe)) if recipe else {}
        self.run = RunConfig.parse(apply_settings(values, ["split.protocol=last", *self.config["settings"]]))
        self.split = split(self.data.histories, self.run.split, self.data.manifest.actions)
        self.training = self.split.training(self.data.histories)
        self.requests = self.split.test.requests(self.data.histories)
        self.numbers = np.concatenate([[0], self.data.catalog.frame["item"].cast(int).to_numpy()])
        self.model = self._model()
        return {"events": self.training.n_events, "parameters": self.model.parameters_count}

    def _model(self) -> SequenceModel:
        settings = {key: value for key, value in self.run.model.items() if key != "name"}
        torch.manual_seed(self.run.seed)
        items = make_items(self.training, self.data.catalog.tie_rank)
        cls, machine = model_class(str(self.run.model["name"])), preferences()
        resolved = cls.Config.parse(settings).resolved(items.n, machine.softmax == "bfloat16")  # as `onward train` does
        model = build(cls, resolved.model_dump(), items)
        assert isinstance(model, SequenceModel)
        model.chunk_rows = machine.chunk_rows
        model.start_training(self.training)
        return model

    def train(self, pacer: protocol.Pacer) -> None:
        """Onward's loop, without validation; with `budget`, as many epochs as the time holds."""
        epochs = 100_000
        if self.config.get("budget"):
            epochs = self._epochs_in(self.config["budget"] - pacer.clock)
        self._train(self.model, epochs, lambda done, batches: pacer.batch(done))

    def _epochs_in(self, seconds: float) -> int:
        """Epochs that fit, by the speed of a copy that is trained for a moment: the schedule must know its end."""
        watch, events = protocol.Stopwatch(CALIBRATION_SECONDS), 1

        def watched(done: int, batches: TrainingBatches) -> None:
            nonlocal events
            events = batches.n_targets
            if watch.batch(done):
                raise _EnoughError

        with contextlib.suppress(_EnoughError):
            self._train(copy.deepcopy(self.model), 1_000, watched)
        return max(1, int(watch.events_per_second() * (seconds - CALIBRATION_SECONDS) / events))

    def _train(self, model: SequenceModel, epochs: int, on_batch: Callable[[int, TrainingBatches], None]) -> None:
        """`train_model`, with a word before every batch: the events of the one before, and all batches."""

        class Counted(Gradients):
            before = 0

            def of(self, windows: Ints, step: int) -> tuple[Tensor, int]:
                on_batch(self.before, self.batches)
                loss, self.before = super().of(windows, step)
                return loss, self.before

        loop.Gradients = Counted
        with tempfile.TemporaryDirectory(dir=self.config["folder"]) as folder, Display("", shown=False) as display:
            (Path(folder) / "checkpoints").mkdir()
            config = self.run.train.model_copy(update={"epochs": epochs})
            loop.train_model(model, self.training, None, config, self.run.seed, Path(folder), display)

    def evaluate(self) -> dict[str, Any]:
        """Exact ranks of the test targets over the whole catalog, and every metric."""
        found = validation_metrics(self.model, self.data.histories, self.split.test, "exclude")
        return {"users": len(self.split.test), "own": {"ndcg@10": found["ndcg@10"], "hr@10": found["hr@10"]}}

    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`recommend` of the model, all requests."""
        lists = self.model.recommend(self.requests, k, seen="exclude")
        users = self.data.users["user"].cast(int).to_numpy()[self.split.test.user]
        return users, self.numbers[lists.items]

    def answer(self, number: int, k: int) -> object:
        """`recommend` of the model, one request, as it is served."""
        return self.served.recommend(self.requests.select(slice(number, number + 1)), k, seen="exclude")

    @cached_property
    def served(self) -> Recommender:
        """The model itself where compiled code answers for it; or else, as it is at the first request, by its graph,
        after `onward export --onnx`."""
        if self.model.quick_for(self.requests) is not None:
            return self.model
        folder, manifest = Path(self.config["folder"]), self.data.manifest
        settings = {"name": self.model.name, **self.model.config.model_dump()}
        config = self.run.model_copy(update={"dataset": manifest.hash, "model": settings})
        plain = write_bundle(folder / "plain", self.model, self.data.catalog, config, manifest, {"seconds": 0.0})
        words = [sys.executable, "-m", "onward", "export", str(plain), "-o", str(folder / "exported"), "--onnx"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # its memory isn't that of training and answers
        return load_bundle(folder / "exported", onnx=True).model

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """No dropout, and PyTorch has the threads back that the loop shares out."""
        with protocol.inference(self.model):
            during = torch.get_num_threads()
            torch.set_num_threads(self.config["threads"])
            yield
            torch.set_num_threads(during)


if __name__ == "__main__":
    protocol.main(Onward)
