"""The static models of `implicit`: ALS and item-item BM25, fitted in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import protocol
from events import Log
from implicit.als import AlternatingLeastSquares
from implicit.evaluation import ranking_metrics_at_k
from implicit.nearest_neighbours import BM25Recommender
from scipy import sparse

MODELS = {"als": AlternatingLeastSquares, "bm25": BM25Recommender}


class Implicit(protocol.Driver):
    """Users and items as one matrix of counts."""

    def prepare(self) -> dict[str, Any]:
        """The matrices of training, of everything before the test target, and of the targets."""
        log = Log.read(self.config["data"])
        self.user = log.users
        self.number, column = np.unique(log.items, return_inverse=True)
        row, left = log.rows(), log.left()
        shape = (len(log.users), len(self.number))

        def matrix(chosen: np.ndarray) -> sparse.csr_matrix:
            ones = np.ones(int(chosen.sum()), dtype=np.float32)
            return sparse.csr_matrix((ones, (row[chosen], column[chosen])), shape=shape)

        self.training, self.history, self.target = matrix(left >= 2), matrix(left >= 1), matrix(left == 0)
        return {"events": int(self.training.nnz)}

    def train(self, pacer: protocol.Pacer) -> None:
        """One fit."""
        pacer.batch(0)
        settings = dict(self.config["settings"])
        self.model = MODELS[settings.pop("model")](**settings, num_threads=self.config["threads"])
        self.model.fit(self.training, show_progress=False)
        pacer.batch(int(self.training.nnz))

    def evaluate(self) -> dict[str, Any]:
        """implicit's ranking_metrics_at_k."""
        found = ranking_metrics_at_k(self.model, self.history, self.target, K=10, show_progress=False)
        return {"users": len(self.user), "own": {name: float(value) for name, value in found.items()}}

    def recommend(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """`recommend` of all users; ALS makes a user's vector anew, with the event that wasn't trained on."""
        rows = np.arange(len(self.user))
        items, _ = self.model.recommend(rows, self.history, N=k, recalculate_user=True)
        return self.user, self.number[np.maximum(items, 0)]

    def answer(self, number: int, k: int) -> object:
        """`recommend` of one user."""
        return self.model.recommend(number, self.history[number], N=k, recalculate_user=True)


if __name__ == "__main__":
    protocol.main(Implicit)
