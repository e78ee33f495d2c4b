"""Friends at serving: who they are, from the bundle or the request, and what they did lately, from the store.

Shapes: B requests, F friends of one at most, W friends of all requests together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from onward.bundle import Bundle
from onward.data.friends import Friends
from onward.data.sequences import Ints
from onward.models.sequence import SequenceModel
from onward.serve.store.protocol import EventStore, StoredHistory

Circle = Sequence[tuple[float, StoredHistory]]
"""The weight of the link to each friend, and what the friend did lately."""
_NOBODY: tuple[tuple[str, ...], tuple[float, ...]] = ((), ())


@dataclass(frozen=True)
class _Links:
    """Rows of each user in the bundle's links, strongest first."""

    first: Mapping[str, int]
    sizes: Mapping[str, int]
    friends: Sequence[str]
    weights: Sequence[float]


class FriendReader:
    """Reads friends for one model; for one without links there is nothing to read.

    Args:
        bundle: its links are those of the training data; a request can bring others (`context.links`, a list of ids).

    Attributes:
        active: whether the model reads links.
    """

    def __init__(self, bundle: Bundle, store: EventStore) -> None:
        layer = bundle.model.features if isinstance(bundle.model, SequenceModel) else None
        self._column = None if layer is None else layer.links
        self._store = store
        self._links = _indexed(bundle)

    @property
    def active(self) -> bool:
        """Whether the model reads links."""
        return self._column is not None

    def read(
        self, users: Sequence[str | None], contexts: Sequence[Mapping[str, JsonValue]], before: Sequence[int | None]
    ) -> list[Circle]:
        """Each request's friends with their newest events, of those before a time where one is given.

        Args:
            before: (B,) microseconds UTC.
        """
        if self._column is None:
            return [()] * len(users)
        circles: list[Circle] = []
        for user, context, moment in zip(users, contexts, before, strict=True):
            friends, weights = self._friends(user, context)
            found = self._store.histories(friends, self._column.events, moment) if friends else []
            circles.append([(weight, one) for weight, one in zip(weights, found, strict=True) if len(one)])
        return circles

    def _friends(self, user: str | None, context: Mapping[str, JsonValue]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        assert self._column is not None
        told = context.get(self._column.name)
        if isinstance(told, list):
            friends = tuple(dict.fromkeys(one for one in told if isinstance(one, str) and one != user))
            friends = friends[: self._column.friends]
            return friends, (1.0,) * len(friends)
        links = self._links
        if links is None or user is None or user not in links.first:
            return _NOBODY
        rows = slice(links.first[user], links.first[user] + links.sizes[user])
        return tuple(links.friends[rows]), tuple(links.weights[rows])

    def laid_out(self, circles: Sequence[Circle], items: Sequence[NDArray[np.int32]], offset: int) -> Friends | None:
        """Where the events of friends lie in columns that have them one after the other, from `offset` on.

        Args:
            circles: of each request. items: (n,) of each friend, those that the model knows.
        """
        if self._column is None:
            return None
        sizes = [len(circle) for circle in circles]
        rows = np.full((len(circles), max(sizes, default=0)), -1, dtype=np.int64)
        weights = np.zeros(rows.shape, dtype=np.float32)
        first = 0
        for row, circle in enumerate(circles):
            rows[row, : len(circle)] = np.arange(first, first + len(circle))
            weights[row, : len(circle)] = [weight for weight, _ in circle]
            first += len(circle)
        ends: Ints = offset + np.cumsum([len(one) for one in items], dtype=np.int64)
        starts = np.concatenate([[offset], ends[:-1]]) if len(ends) else ends
        return Friends(rows, weights, starts, ends, self._column.events)


def _indexed(bundle: Bundle) -> _Links | None:
    if bundle.links is None:
        return None
    users = bundle.links["user"].to_numpy()
    names, first, sizes = np.unique(users, return_index=True, return_counts=True)
    ids = names.tolist()
    return _Links(
        dict(zip(ids, first.tolist(), strict=True)),
        dict(zip(ids, sizes.tolist(), strict=True)),
        bundle.links["friend"].to_list(),
        bundle.links["weight"].to_list(),
    )
