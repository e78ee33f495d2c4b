"""Why an item is in a list: each event of the history is left out in turn, and the real model asked again.

What the item's score loses is the event's effect, so that a reason is true of the model whatever the model is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onward.data.sequences import Histories, Ints
from onward.serve.lists.scoring import Scorer


def explain(
    scorer: Scorer, history: Histories, items: Ints, events: int, count: int
) -> list[list[tuple[int, int, float]]]:
    """For each item the events that moved its score most: (place in the history, item, effect), largest effect first.

    An effect is the score with the event less that without it. Where nothing that the model knows would be left, it
    is the whole score.

    Args:
        history: one, known to the model.
        items: (n,) indices of the model's items.
        events: newest events that are left out in turn, at most.
        count: reasons for an item, at most.
    """
    start, end = int(history.start[0]), int(history.end[0])
    left_out = np.arange(max(start, end - events), end)
    without = _without(history, start, end, left_out)
    known = scorer.known(without)
    scores = np.zeros((len(left_out), len(items)), dtype=np.float32)
    if known.any():
        scores[known] = scorer.scores_of(without.select(known), items)
    effects = scorer.scores_of(history, items) - scores  # (events, items)
    most = np.argsort(-np.abs(effects), axis=0, kind="stable")[:count]
    columns = history.item[left_out].tolist()
    return [
        [(int(left_out[row]) - start, columns[row], float(effects[row, n])) for row in most[:, n].tolist()]
        for n in range(len(items))
    ]


def _without(history: Histories, start: int, end: int, left_out: Ints) -> Histories:
    """The history once for each place, without the event there."""
    rest = np.arange(start, end - 1) + (np.arange(start, end - 1) >= left_out[:, None])
    ends = np.arange(1, len(left_out) + 1, dtype=np.int64) * rest.shape[1]
    columns = {name: column[rest.ravel()] for name, column in history.columns.items()}
    friends = history.friends
    if friends is not None:  # their events lie in the same columns
        columns = {name: np.concatenate([column, history.columns[name]]) for name, column in columns.items()}
        moved = friends.moved(rest.size + np.arange(len(history.item) + 1))
        friends = moved.select(np.zeros(len(left_out), dtype=np.int64))
    at = None if history.at is None else np.repeat(history.at, len(left_out))
    about = {name: np.repeat(value, len(left_out), axis=0) for name, value in history.about.items()}
    return replace(history, columns=columns, start=ends - rest.shape[1], end=ends, at=at, about=about, friends=friends)
