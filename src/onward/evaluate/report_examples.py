"""Single requests in a report: where two models differ most, or where one model surprises, with titles.

They are picked because they are extreme, so they show what a model does differently, not how good it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from onward.data.catalog import Catalog
from onward.data.sequences import Ints
from onward.evaluate import report_text as text
from onward.evaluate.bootstrap import Floats
from onward.evaluate.compare import Comparison
from onward.evaluate.report_requests import Asked

OTHERS = 5
"""Models that the first is set against, at most."""
HISTORY = 8
"""Newest events of a history that are shown."""
TARGETS = 5
"""Targets of a request that are shown."""
LISTED = 10
"""Items of each list."""
TITLE = 120
"""Characters of a title, at most."""


@dataclass(frozen=True)
class Choice:
    """One request to show.

    Attributes:
        pair: number of the models that are set against each other, from 0.
        group: heading that it stands under.
        row: of the request.
        models: rows of the comparison whose lists are shown.
    """

    pair: int
    group: str
    row: int
    models: tuple[int, ...]


def choose(comparison: Comparison, examples: int, train_counts: Ints, asked: Asked, seed: int = 0) -> list[Choice]:
    """Requests of `examples` different users for each heading.

    Args:
        train_counts: (V + 1,) training events of each item.
        seed: of the order of requests that are equally extreme.
    """
    rows = comparison.rows
    best = [best_rank(row.evaluation.table, comparison.protocol["candidate_items"]) for row in rows]
    chance = np.random.default_rng(seed).permutation(len(best[0]))
    users = asked.part.user
    if len(rows) == 1:
        return _surprises(best[0], _target_counts(asked, train_counts), users, chance, examples)
    chosen = []
    for other in range(1, min(len(rows), OTHERS + 1)):
        ahead = np.log(best[other]) - np.log(best[0])
        for sign, (winner, loser) in ((1, (0, other)), (-1, (other, 0))):
            order = np.lexsort((chance, best[winner], -sign * ahead))
            order = order[(sign * ahead)[order] > 0]
            group = f"{rows[winner].label} ahead of {rows[loser].label}"
            chosen += [Choice(other - 1, group, row, (winner, loser)) for row in _by_user(order, users, examples)]
    return chosen


def _surprises(best: Floats, counts: Ints, users: Ints, chance: Ints, examples: int) -> list[Choice]:
    """Of one model: rare items that it put first, and well-known ones that it put far down."""
    hits = np.flatnonzero(best <= LISTED)
    rare = hits[np.lexsort((chance[hits], best[hits], counts[hits]))]
    misses = np.flatnonzero((best > LISTED) & (counts > 0))
    known = misses[np.lexsort((chance[misses], -counts[misses] * np.log(best[misses])))]
    return [
        *(Choice(0, "Rare items that it found", row, (0,)) for row in _by_user(rare, users, examples)),
        *(Choice(0, "Frequent items that it missed by far", row, (0,)) for row in _by_user(known, users, examples)),
    ]


def best_rank(table: pl.DataFrame, last: int) -> Floats:
    """(R,) rank of each request's best target, the middle one of a tie; `last` where none can be listed."""
    flat = table.select("above", "tied").with_row_index("request").explode("above", "tied")
    middle = pl.when(pl.col("tied") > 0).then(pl.col("above") + (pl.col("tied") + 1) / 2).otherwise(float(last))
    found = flat.with_columns(rank=middle).group_by("request", maintain_order=True).agg(pl.col("rank").min())
    return found["rank"].to_numpy()


def _target_counts(asked: Asked, train_counts: Ints) -> Ints:
    """(R,) training events of each request's most frequent target."""
    row, position = asked.part.targets(asked.data)
    counts = np.zeros(len(asked.part), dtype=np.int64)
    np.maximum.at(counts, row, train_counts[asked.data.item[position]])
    return counts


def _by_user(order: Ints, users: Ints, examples: int) -> list[int]:
    """The first requests of an order, one a user."""
    _, first = np.unique(users[order], return_index=True)
    return [int(row) for row in order[np.sort(first)[:examples]]]


def show(
    comparison: Comparison, chosen: Sequence[Choice], asked: Asked, lists: Sequence[Mapping[int, Ints]]
) -> list[dict[str, Any]]:
    """Headings with their examples, as plain values.

    Args:
        lists: for each choice, by each of its models, the indices of the items listed.
    """
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for choice, listed in zip(chosen, lists, strict=True):
        groups.setdefault((choice.pair, choice.group), []).append(_example(comparison, choice, asked, listed))
    return [{"pair": pair, "title": title, "examples": examples} for (pair, title), examples in groups.items()]


def _example(comparison: Comparison, choice: Choice, asked: Asked, listed: Mapping[int, Ints]) -> dict[str, Any]:
    part, data, catalog = asked.part, asked.data, asked.dataset.catalog
    first, end = int(part.history_start[choice.row]), int(part.history_end[choice.row])
    newest = range(end - 1, max(first, end - HISTORY) - 1, -1)
    tables = [comparison.rows[model].evaluation.table for model in choice.models]
    targets = tables[0]["targets"][choice.row].to_list()
    when = None if data.time is None else int(data.time[part.target_start[choice.row]])
    wanted = set(targets)
    return {
        "user": _cut(str(asked.dataset.users["user"][int(part.user[choice.row])])),
        "when": None if when is None else text.day(when),
        "earlier": max(0, end - first - HISTORY),
        "history": [
            {
                "title": _title(catalog, int(data.item[position])),
                "when": None if data.time is None else text.day(int(data.time[position])),
            }
            for position in newest
        ],
        "targets": [
            {
                "title": _title(catalog, catalog.index_of(item)),
                "ranks": [_rank(table, choice.row, n) for table in tables],
            }
            for n, item in enumerate(targets[:TARGETS])
        ],
        "more_targets": max(0, len(targets) - TARGETS),
        "lists": [
            {
                "model": model,
                "items": [
                    {"title": _title(catalog, int(item)), "hit": catalog.id(int(item)) in wanted}
                    for item in listed[model]
                    if item
                ],
            }
            for model in choice.models
        ],
    }


def _rank(table: pl.DataFrame, row: int, target: int) -> str:
    above, tied = int(table["above"][row][target]), int(table["tied"][row][target])
    if not tied:
        return "can't be listed"
    return f"rank {above + 1:,}" if tied == 1 else f"rank {above + 1:,} to {above + tied:,}, tied"


def _title(catalog: Catalog, index: int) -> str:
    return _cut(catalog.title(index))


def _cut(title: str) -> str:
    return title if len(title) <= TITLE else f"{title[: TITLE - 1]}…"
