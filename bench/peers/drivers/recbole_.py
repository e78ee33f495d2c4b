"""RecBole's SASRec (Zhao et al., CIKM 2021): `run_recbole`'s own steps, without its checkpoints and its validation.

RecBole makes one sample of every prefix, so an event here is one target, whose whole prefix is encoded for it alone,
and a batch of 128 holds 128 targets. Its documented call, run_recbole, saves a checkpoint that its evaluation can't
load on PyTorch 2.6 and later (torch.load without weights_only=False), hence the single steps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import protocol
import torch
from events import Log, read_events
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, get_trainer, init_logger, init_seed


class RecBole(protocol.Driver):
    """SASRec with the whole-catalog cross-entropy."""

    def prepare(self) -> dict[str, Any]:
        """The file as an atomic file, then RecBole's dataset and its loaders."""
        user, item = read_events(self.config["data"])
        folder = Path(self.config["folder"])
        (folder / "events").mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame({"user_id:token": user, "item_id:token": item})
        frame["timestamp:float"] = frame.groupby("user_id:token").cumcount()
        frame.to_csv(folder / "events" / "events.inter", sep="\t", index=False)
        config = Config(model="SASRec", dataset="events", config_dict=self._settings(folder))
        init_seed(config["seed"], config["reproducibility"])
        init_logger(config)
        logging.getLogger().setLevel(logging.WARNING)
        self.training, _, self.test = data_preparation(config, create_dataset(config))
        self.model = get_model("SASRec")(config, self.training.dataset).to(config["device"])
        self.trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, self.model)
        self._remember_histories()
        return {"targets": len(self.training.dataset)}

    def _settings(self, folder: Path) -> dict[str, Any]:
        return {
            "data_path": str(folder),
            "checkpoint_dir": str(folder / "saved"),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": self.config["length"],
            "train_batch_size": self.config["batch"],
            "eval_batch_size": 256,
            "train_neg_sample_args": None,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
            "metrics": ["NDCG"],
            "valid_metric": "NDCG@10",
            "show_progress": False,
            "state": "WARNING",
            "seed": self.config["seed"],
            "reproducibility": False,
            "use_gpu": False,
            **self.config["settings"],
        }

    def _remember_histories(self) -> None:
        """Each test request's whole history, since RecBole doesn't exclude seen items of a sequential model."""
        data = self.test.dataset
        owner = data.inter_feat[data.uid_field].numpy()
        self.user = data.id2token(data.uid_field, owner).astype(np.int64)
        self.number = data.id2token(data.iid_field, np.arange(1, data.item_num)).astype(np.int64)
        self.number = np.concatenate([[0], self.number])
        index = np.zeros(self.number.max() + 1, dtype=np.int64)
        index[self.number] = np.arange(len(self.number))
        whole = Log.read(self.config["data"])
        self.seen = [torch.from_numpy(index[whole.history(user)]) for user in self.user]

    def train(self, pacer: protocol.Pacer) -> None:
        """RecBole's epochs."""
        before = 0

        def counted(interaction: Interaction) -> torch.Tensor:
            nonlocal before
            pacer.batch(before)
            before = len(interaction)
            return self.model.calculate_loss(interaction)

        epoch = 0
        while True:
            self.trainer._train_epoch(self.training, epoch, loss_func=counted)
            epoch += 1

    def evaluate(self) -> dict[str, Any]:
        """RecBole's trainer.evaluate."""
        found = self.trainer.evaluate(self.test, load_best_model=False)
        return {"users": len(self.user), "own": dict(found)}

    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """full_sort_predict and topk, batch by batch."""
        lists = [self._top(slice(first, first + 256), k) for first in range(0, len(self.user), 256)]
        return self.user, self.number[np.concatenate(lists)]

    def answer(self, number: int, k: int) -> object:
        """The same of one user."""
        return self._top(slice(number, number + 1), k)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """No dropout."""
        with protocol.inference(self.model):
            yield

    def _top(self, rows: slice, k: int) -> np.ndarray:
        scores = self.model.full_sort_predict(self.test.dataset[rows])
        scores[:, 0] = -torch.inf
        for row, seen in enumerate(self.seen[rows]):
            scores[row, seen] = -torch.inf
        return torch.topk(scores, k).indices.numpy()


if __name__ == "__main__":
    protocol.main(RecBole)
