"""The file that all libraries read, for drivers whose library has no reader of its own, and for the runner."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Log:
    """The file, user by user: events `bounds[i]` to `bounds[i + 1]` of `items` are those of `users[i]`, in order."""

    users: np.ndarray
    bounds: np.ndarray
    items: np.ndarray

    @classmethod
    def read(cls, path: str) -> Log:
        """Users ascending."""
        user, item = read_events(path)
        order = np.argsort(user, kind="stable")
        users, first = np.unique(user[order], return_index=True)
        return cls(users, np.append(first, len(user)), item[order])

    def rows(self) -> np.ndarray:
        """(N,) which user each event is of, counted from 0."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.bounds))

    def left(self) -> np.ndarray:
        """(N,) how many later events the same user has: 0 is the test target, 1 the validation target."""
        return self.bounds[1:][self.rows()] - np.arange(len(self.items)) - 1

    def history(self, user: int) -> np.ndarray:
        """All of a user's items but the last."""
        row = int(np.searchsorted(self.users, user))
        return self.items[self.bounds[row] : self.bounds[row + 1] - 1]


def read_events(path: str) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) of every line, two (N,) int64; each user's events in order."""
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt") as file:
        numbers = np.array(file.read().split(), dtype=np.int64).reshape(-1, 2)
    return numbers[:, 0], numbers[:, 1]
