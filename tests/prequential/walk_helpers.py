"""A log in which everybody's taste turns around at a moment, and runs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

import onward
from onward.data.prepare import prepare

DAY = 86_400
START = 1_600_000_000
ITEMS = 12


def turning_log(users: int = 40, days: int = 40, turn: int | None = 30, seed: int = 0) -> pl.DataFrame:
    """One event a user and day: items follow each other in a ring, from day `turn` on the other way around.

    A quarter of the users come on day 30 or later; the item `late` occurs from day 34 on only.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        item, first = int(generator.integers(ITEMS)), 0 if user % 4 else 30 + user % 5
        for day in range(first, days):
            forward = turn is None or day < turn
            item = (item + (1 if forward else -1)) % ITEMS
            late = day >= 34 and generator.random() < 0.05
            second = START + day * DAY + int(generator.integers(DAY))
            rows.append((f"u{user:02}", "late" if late else f"i{item:02}", second))
    return pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")


def walk_run(folder: Path, log: pl.DataFrame, model: str = "markov", *settings: str) -> Path:
    """A run on a log, whose validation part begins on day 25 and whose test part begins on day 30."""
    prepare(log, folder / "dataset")
    days = {"valid_from": 25, "test_from": 30}
    cuts = [f"split.{name}={(START + day * DAY) * 10**6}" for name, day in days.items()]
    onward.train(folder / "dataset", model, folder / "run", settings=[*cuts, *settings], progress=False)
    return folder / "run"
