"""RecTools' SASRecModel (softmax loss) by its documented calls: Dataset.construct, fit, recommend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import protocol
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.metrics import NDCG, calc_metrics
from rectools.models import SASRecModel


class Pace(Callback):
    """Tells the pacer of every batch."""

    def __init__(self, pacer: protocol.Pacer) -> None:
        self.pacer, self.before = pacer, 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Pace:
        return self  # RecTools copies its trainer before every fit

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Events are the positions with a target that counts."""
        self.pacer.batch(self.before)
        self.before = int((batch["yw"] > 0).sum())


class RecTools(protocol.Driver):
    """SASRec; events are ordered by a time that is their place in the user's history."""

    def prepare(self) -> dict[str, Any]:
        """Read with pandas, make RecTools' datasets; its `fit` prepares further, which counts as preparation too."""
        frame = pd.read_csv(self.config["data"], sep=" ", names=[Columns.User, Columns.Item])
        place = frame.groupby(Columns.User).cumcount()
        left = frame.groupby(Columns.User).cumcount(ascending=False)
        frame[Columns.Weight] = 1.0
        frame[Columns.Datetime] = pd.Timestamp("2000-01-01") + pd.to_timedelta(place, unit="s")
        self.held_out = frame[left == 0]
        history = frame[left >= 1]
        self.training = Dataset.construct(frame[left >= 2])
        self.requests = Dataset.construct(history)
        self.users = self.held_out[Columns.User].to_numpy()
        self.frames = dict(iter(history.groupby(Columns.User)))
        self.singles = {}
        self.catalog = self.training.item_id_map.external_ids
        return {"events": len(self.training.interactions.df)}

    def train(self, pacer: protocol.Pacer) -> None:
        """One fit without end."""

        def trainer() -> Trainer:
            return Trainer(
                max_epochs=100_000,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                accelerator="cpu",
                callbacks=[Pace(pacer)],
            )

        self.model = SASRecModel(
            session_max_len=self.config["length"],
            batch_size=self.config["batch"],
            loss="softmax",
            get_trainer_func=trainer,
            **self.config["settings"],
        )
        self.model.is_fitted = True  # it is used from within its fit
        self.model.fit(self.training)

    def evaluate(self) -> dict[str, Any]:
        """Lists for everyone, and calc_metrics."""
        found = self._lists(self.users, self.requests, 10)
        metrics = calc_metrics({"ndcg@10": NDCG(k=10)}, reco=found, interactions=self.held_out)
        return {"users": len(self.users), "own": {name: float(value) for name, value in metrics.items()}}

    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`recommend` of all users."""
        found = self._lists(self.users, self.requests, k)
        users = found[Columns.User].to_numpy().reshape(-1, k)[:, 0]
        return users, found[Columns.Item].to_numpy().reshape(-1, k)

    def answer(self, number: int, k: int) -> object:
        """`recommend` of one user, from a dataset that holds this user only: the fastest documented way."""
        user = self.users[number]
        if number not in self.singles:
            self.singles[number] = Dataset.construct(self.frames[user])
        return self._lists(self.users[number : number + 1], self.singles[number], k)

    def _lists(self, users: np.ndarray, dataset: Dataset, k: int) -> pd.DataFrame:
        return self.model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """No dropout."""
        with protocol.inference(self.model.torch_model):
            yield


if __name__ == "__main__":
    protocol.main(RecTools)
