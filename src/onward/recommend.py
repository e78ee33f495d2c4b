"""Recommendations: for a user of a dataset, for a history typed by hand, for everyone.

Whatever is asked gets an answer: users and items that nobody knows, and empty histories, end in popular items and a
note that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from onward.bundle import Bundle, load_bundle
from onward.data.dataset import Dataset, open_dataset
from onward.data.names import find_items
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.evaluate.external import align, known_only
from onward.models.base import Bools
from onward.models.features.attach import histories_for
from onward.payload import Payload

Seen = Literal["exclude", "include"]
CHUNK_USERS = 4096
"""Users answered between two reports of progress."""


class Recommended(Payload):
    """One item of a list."""

    rank: int
    """Place in the list, from 1."""
    item: str
    """Its id."""
    title: str
    """Its title; the id again where the catalog has no titles."""
    score: float
    """What the model gave it; comparable within a list only."""


class Recommendations(Payload):
    """A list for one history, best first."""

    format: Literal["onward.recommendations/1"] = "onward.recommendations/1"
    """Format and version."""
    user: str | None
    """The user it is for; null for a history that was typed."""
    model: str
    """Name of the model."""
    seen: Seen
    """Whether items of the history could come again."""
    history: list[str]
    """Titles (or ids) of the known items it was made from, oldest first."""
    items: list[Recommended]
    """The list."""
    fallback: bool
    """No item of the history was seen in training, so popularity answered."""
    notes: list[str]
    """What a reader should know about it."""

    def __str__(self) -> str:
        lines = [
            f"{one.rank:>3}  {one.title}" + (f"  [{one.item}]" if one.title != one.item else "") for one in self.items
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def recommend(
    model: str | Path | Bundle,
    history: str | Sequence[str | int] | None = None,
    *,
    user: str | int | None = None,
    k: int = 10,
    only: Sequence[str] = (),
    exclude: str | Sequence[str | int] = (),
    dataset: str | Path | Dataset | None = None,
    seen: Seen | None = None,
) -> Recommendations:
    """The k best items after a history.

    Args:
        model: a loaded bundle, or the path of one or of a run.
        history: what somebody did, oldest first: ids or titles, as a list or as one line with commas.
        user: instead of a history, a user of the dataset.
        only: conditions that every item must meet, such as `genre=Comedy`.
        exclude: items to leave out, named as in `history`.
        dataset: where `user` is looked up; by default the dataset that the model was trained on.
        seen: whether items of the history may come again; by default what the dataset decided.

    Raises:
        ConfigError: both or neither of history and user; k below 1; an unknown column or value in `only`.
        FormatError: the model or the dataset is not sound.
    """
    if (history is None) == (user is None):
        raise ConfigError("recommend for whom? give a history or a user, one of them")
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    if user is not None:
        given, notes = _of_user(bundle, str(user), dataset)
    else:
        named = find_items(history or [], bundle.catalog)
        notes = named.notes(bundle.catalog)
        given = Histories.from_lists([named.indices], len(bundle.catalog))
    candidates, more = _candidates(bundle, only, exclude)
    whose = None if user is None else str(user)
    return _answer(bundle, whose, given, k, candidates, seen or bundle.manifest.seen, [*notes, *more])


def recommend_all(
    model: str | Path | Bundle,
    dataset: str | Path | Dataset | None = None,
    *,
    k: int = 10,
    only: Sequence[str] = (),
    exclude: str | Sequence[str | int] = (),
    seen: Seen | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """The k best items of every user of a dataset, and notes; arguments as in `recommend`.

    Columns: `user`, `rank` (from 1), `item`, `score` (float32), and `title` where the catalog has titles. Users in the
    order of the dataset.

    Args:
        progress: called with (users done, users in all).
    """
    bundle = model if isinstance(model, Bundle) else load_bundle(model)
    data = _dataset(bundle, dataset)
    histories = _histories(bundle, data)
    candidates, notes = _candidates(bundle, only, exclude)
    _check_k(k)
    found, scores, fallback = [], [], 0
    for first in range(0, len(histories), CHUNK_USERS):
        some = histories.select(slice(first, first + CHUNK_USERS))
        lists = bundle.model.recommend(some, k, candidates, seen or bundle.manifest.seen)
        found.append(lists.items)
        scores.append(lists.scores)
        fallback += int(lists.fallback.sum())
        if progress is not None:
            progress(first + len(some), len(histories))
    if fallback:
        notes.append(f"users who get popular items, having nothing that was seen in training: {fallback}")
    return _frame(bundle, data.users["user"], np.concatenate(found), np.concatenate(scores)), notes


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k = {k}: a list has one item or more")


def _answer(
    bundle: Bundle, user: str | None, given: Histories, k: int, candidates: Bools, seen: Seen, notes: list[str]
) -> Recommendations:
    _check_k(k)
    catalog = bundle.catalog
    names, history = catalog.names, given.item[given.start[0] : given.end[0]]
    untrained = history[~_trained(bundle)[history]]
    if len(untrained):
        said = ", ".join(names[index - 1] for index in dict.fromkeys(untrained.tolist()))
        notes.append(f"not seen in training, so the model knows nothing of it: {said}")
    lists = bundle.model.recommend(given, k, candidates, seen)
    fallback = bool(lists.fallback[0])
    if fallback:
        notes.append("nothing is known of this history, so these are the most popular items")
    items = [
        Recommended(rank=rank, item=catalog.ids[index - 1], title=names[index - 1], score=score)
        for rank, (index, score) in enumerate(zip(lists.items[0].tolist(), lists.scores[0].tolist(), strict=True), 1)
        if index
    ]
    if len(items) < k:
        notes.append(f"only {len(items)} items can be recommended here, not {k}")
    return Recommendations(
        user=user,
        model=bundle.manifest.model,
        seen=seen,
        history=[names[index - 1] for index in history.tolist()],
        items=items,
        fallback=fallback,
        notes=notes,
    )


def _trained(bundle: Bundle) -> Bools:
    return bundle.model.items.candidates


def _candidates(bundle: Bundle, only: Sequence[str], exclude: str | Sequence[str | int]) -> tuple[Bools, list[str]]:
    if not only and not exclude:
        return _trained(bundle), []
    named = find_items(exclude, bundle.catalog)
    candidates = _trained(bundle) & bundle.catalog.matching(only)
    candidates[named.indices] = False
    return candidates, named.notes(bundle.catalog)


def _of_user(bundle: Bundle, user: str, dataset: str | Path | Dataset | None) -> tuple[Histories, list[str]]:
    data = _dataset(bundle, dataset)
    row = np.flatnonzero((data.users["user"] == user).to_numpy())
    if not len(row):
        nobody = Histories.from_lists([[]], len(bundle.catalog))
        return nobody, [f"user '{user}' is not in the dataset {data.path}"]
    return _histories(bundle, data).select(row), []


def _dataset(bundle: Bundle, dataset: str | Path | Dataset | None) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    path = dataset or bundle.config.dataset_path
    if not path:
        raise ConfigError(
            "where are the users? the model doesn't say which dataset it was trained on", "give a dataset"
        )
    return open_dataset(path)


def _histories(bundle: Bundle, data: Dataset) -> Histories:
    """Everyone's history in the model's item indices; items that the model never heard of are left out."""
    if data.manifest.hash == bundle.manifest.dataset:
        return histories_for(bundle.model, data)
    aligned, _ = align(data, bundle.catalog)
    return known_only(histories_for(bundle.model, data, aligned), len(bundle.catalog))


def _frame(bundle: Bundle, users: pl.Series, found: Any, scores: Any) -> pl.DataFrame:
    rows, ranks = np.nonzero(found)
    index = found[rows, ranks]
    frame = pl.DataFrame(
        {
            "user": users.gather(rows),
            "rank": ranks.astype(np.int32) + 1,
            "item": bundle.catalog.frame["item"].gather(index - 1),
            "score": scores[rows, ranks],
        }
    )
    if bundle.catalog.titles is None:
        return frame
    return frame.with_columns(title=pl.Series(bundle.catalog.titles, dtype=pl.String).gather(index - 1))
