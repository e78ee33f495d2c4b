"""One definition of quality for all: Onward's metrics on the lists that a library gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drivers.events import Log

from onward.evaluate.metrics import ndcg, recall
from onward.evaluate.ranking import Ranks


def score_lists(path: Path, log: Log, k: int = 10) -> dict[str, float]:
    """NDCG@k and HR@k of lists (`users`, `items`), each user's last event being the target; no list is a miss.

    Raises:
        ValueError: a list holds an item twice, or one of the user's history, which all libraries must leave out.
    """
    lists = np.load(path)
    row = np.searchsorted(log.users, lists["users"])
    items = np.zeros((len(log.users), k), dtype=np.int64)
    items[row] = lists["items"][:, :k]
    _check(items, log)
    target = log.items[log.bounds[1:] - 1]
    hit = items == target[:, None]
    every = np.arange(len(target))
    none = np.zeros(len(target), dtype=np.bool_)
    ranks = Ranks(every, target, hit.argmax(1), hit.any(1).astype(np.int64), np.ones_like(every), none, none)
    return {f"ndcg@{k}": float(ndcg(ranks, k).mean()), f"hr@{k}": float(recall(ranks, k).mean())}


def _check(items: np.ndarray, log: Log) -> None:
    ordered = np.sort(items, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any():
        raise ValueError("a list holds an item twice")
    width = int(max(log.items.max(), items.max())) + 1
    known = log.left() > 0
    seen = np.unique(log.rows()[known] * width + log.items[known])
    asked = (np.arange(len(items))[:, None] * width + items)[items > 0]
    if np.isin(asked, seen).any():
        raise ValueError("a list holds an item of the user's history")
