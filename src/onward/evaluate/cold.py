"""Cold items and cold users: the requests of a part that ask about what training never saw, by a strict split.

An item is cold when its first event lies at or after the cut that ends training, a user likewise. Only a split with
such a cut can say so: `time` for both, and `users`, whose held-out users are cold as a whole, for users.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from onward.data.sequences import Histories, Ints
from onward.data.split import Part, Split
from onward.errors import ConfigError, DataError
from onward.evaluate.bootstrap import intervals, means, user_sums
from onward.evaluate.metrics import request_metrics
from onward.evaluate.options import Options
from onward.evaluate.ranking import Progress, Ranks, rank_targets
from onward.evaluate.results import Evaluation
from onward.models.base import Bools, Recommender

Kind = Literal["items", "users"]
TABLE_PREFIX = "among_cold."
"""Of the columns of the table of requests whose candidates are the cold items alone."""


def check_cold(kind: Kind, config_protocol: str, external: bool) -> None:
    """Raise ConfigError unless a split can say which items or users are cold."""
    if external:
        raise ConfigError(
            f"--cold {kind} asks what training never saw of its own data set, and this is external data",
            "leave --external out",
        )
    if config_protocol == "time" or (config_protocol == "users" and kind == "users"):
        return
    raise ConfigError(
        f"--cold {kind} needs a split with a cut: protocol '{config_protocol}' has no instant before which no event of "
        f"a cold {kind[:-1]} lies",
        "train again with --protocol time" + (" or --protocol users" if kind == "users" else ""),
    )


def cold_items(data: Histories, made: Split) -> Bools:
    """(V + 1,) bool: items with events, all of which lie after the training's."""
    cold: Bools = (data.item_counts() > 0) & (made.training(data).item_counts() == 0)
    return cold


def cold_part(kind: Kind, data: Histories, made: Split, part: Part, name: str) -> Part:
    """The requests of a part with a cold target, or of cold users. Raises DataError when there is none."""
    if kind == "users":
        rows = made.train_end[part.user] == data.start[part.user]
    else:
        row, positions = part.targets(data)
        cold = cold_items(data, made)[data.item[positions]]
        rows = np.bincount(row[cold], minlength=len(part)) > 0
    if not rows.any():
        what = "asks for a cold item" if kind == "items" else "comes from a cold user"
        raise DataError(f"no request of the {name} part {what}", "try --part test, or an earlier cut")
    return part.select(rows)


def rank_cold_items(
    model: Recommender, data: Histories, part: Part, seen: str, cold: Bools, progress: Progress | None = None
) -> Ranks:
    """Ranks of the cold targets among the cold items alone."""
    return of_cold(rank_targets(model, data, part, seen, candidates=cold, progress=progress), cold)


def of_cold(ranks: Ranks, cold: Bools) -> Ranks:
    """The cold targets alone; each request has one (`cold_part`)."""
    return ranks.keeping(cold[ranks.item])[0]


def with_cold(evaluation: Evaluation, ranks: Ranks, user: Ints, options: Options) -> Evaluation:
    """An evaluation of requests for cold items among all items, with their metrics among the cold alone beside it.

    Args:
        ranks: among the cold items alone.
        user: (R,) whose request it is.
    """
    values = request_metrics(ranks, options.ks)
    _, number = np.unique(user, return_inverse=True)
    sums = user_sums(number, np.stack(list(values.values()), axis=1))
    (estimates,) = intervals([(sums, means)], options.seed)
    columns = [pl.Series(TABLE_PREFIX + name, column) for name, column in values.items()]
    among = dict(zip(values, estimates, strict=True))
    measured = evaluation.model_copy(update={"among_cold": among})
    return measured.with_table(evaluation.table.hstack(columns))
