"""The file that all libraries read: `user item` a line, whole numbers, each user's events in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drivers.events import Log
from venvs import CACHE

FEWEST_EVENTS = 4
"""Of a user: a target of the test, one of the validation, and two events to learn from."""


def find_data(given: str | None) -> tuple[Path, str]:
    """The file and its name: the one that was given, or MovieLens-100K from its public source."""
    if given is not None:
        path = Path(given).resolve()
        if not path.is_file():
            raise SystemExit(f"no such file: {given}")
        return checked(path), path.name.split(".")[0]
    print("no --data FILE was given, so this runs on MovieLens-100K (100,000 events), not on ml-1m", flush=True)
    return _movielens_100k(), "ml-100k"


def checked(path: Path) -> Path:
    """The file itself, or a copy without the users who have too few events for one of the libraries."""
    log = Log.read(str(path))
    enough = np.diff(log.bounds) >= FEWEST_EVENTS
    if enough.all():
        return path
    print(f"users with fewer than {FEWEST_EVENTS} events, left out: {int((~enough).sum()):,}", flush=True)
    kept = enough[log.rows()]
    return _write(CACHE / "data" / f"{path.name.split('.')[0]}.txt", log.users[log.rows()][kept], log.items[kept])


def _movielens_100k() -> Path:
    from onward.data.dataset import open_dataset
    from onward.data.datasets import get_dataset
    from onward.data.prepare import prepare

    folder = CACHE / "data" / "ml-100k"
    prepare(get_dataset("ml-100k"), folder, overwrite=True)
    data = open_dataset(folder)
    row, position = data.histories.positions()
    users, items = (frame.cast(int).to_numpy() for frame in (data.users["user"], data.catalog.frame["item"]))
    return _write(CACHE / "data" / "ml-100k.txt", users[row], items[data.histories.item[position] - 1])


def _write(path: Path, users: np.ndarray, items: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.stack([users, items], 1), fmt="%d")
    return path
