"""Rules made ready: which items may be in a list, as masks over the catalog that are computed once and kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.data.sequences import Ints
from onward.errors import ConfigError, unknown
from onward.models.base import Bools
from onward.serve.lists.expressions import matching, parse
from onward.serve.lists.items import LiveCatalog
from onward.serve.lists.requests import Rules

Seen = Literal["exclude", "include"]
Made = TypeVar("Made")
CACHE_BYTES = 64_000_000
"""Memory for masks, about."""
MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Cap:
    """At most `limit` items of one value of a feature. Item i has the values `values[start[i] : start[i + 1]]`."""

    limit: int
    start: Ints
    values: Ints

    def of(self, item: int) -> list[int]:
        """The values of an item."""
        values: list[int] = self.values[self.start[item] : self.start[item + 1]].tolist()
        return values


@dataclass
class Plan:
    """One set of rules over one state of the catalog of N items, V of them the model's.

    Attributes:
        allowed: (N + 1,) bool, items that the rules let pass.
        unwanted: (V + 1,) bool, items that the model may not choose: rules, or never seen in training.
        seen, seen_days, seen_actions: as in `Rules`.
        pinned: indices, in order.
        caps: of `at_most`.
        boosted: (n,) int64 indices of the model's items, and `boosts`, (n,) float32 what is added.
        popular: what popularity offers under these rules; kept by the fallback.
    """

    allowed: Bools
    unwanted: Tensor
    seen: Seen
    seen_days: float | None
    seen_actions: tuple[str, ...]
    pinned: tuple[int, ...]
    caps: tuple[Cap, ...]
    boosted: Ints
    boosts: NDArray[np.float32]
    popular: dict[int, tuple[Ints, int]] = field(default_factory=dict)

    @cached_property
    def passing(self) -> Ints:
        """(n,) int64 items that the model may choose."""
        passing: Ints = np.flatnonzero(~self.unwanted.numpy())
        return passing

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """The same as one bit an item, from the lowest of each byte on."""
        return np.packbits(~self.unwanted.numpy(), bitorder="little")

    def since(self, at: int) -> int | None:
        """Time from which on events make an item seen, microseconds UTC; None for all."""
        return None if self.seen_days is None else at - int(self.seen_days * MICROSECONDS_A_DAY)


class RuleBook:
    """The server's rules over one state of the catalog, and requests' on top of them.

    Args:
        catalog: one state; another one needs a book of its own.
        scored: (S + 1,) bool, items that the model may choose: those seen in training, and after them those of the
            catalog that it knows by their features.
        own: the server's rules.
        seen: what the bundle says of seen items.

    Raises ConfigError for rules of the server that don't fit the catalog.
    """

    def __init__(self, catalog: LiveCatalog, scored: Bools, own: Rules, seen: Seen) -> None:
        self.catalog, self._scored, self._own, self._seen = catalog, scored, own, seen
        self._caps: dict[str, tuple[Ints, Ints]] = {}
        self._where: dict[str, Bools] = {}
        self._plans: dict[object, Plan] = {}
        self._most = max(8, min(1024, CACHE_BYTES // (2 * (len(catalog) + 1))))
        self._base = catalog.available & self._passing(own)
        self.own = self._make(None)

    def plan(self, rules: Rules | None) -> Plan:
        """A request's rules and the server's. Raises ConfigError for a feature that the catalog doesn't have, and
        ExpressionError for a bad expression."""
        if rules is None:
            return self.own
        key = tuple(
            tuple(sorted(value.items())) if isinstance(value, dict) else value
            for value in (getattr(rules, name) for name in Rules.model_fields)
        )
        found = self._plans.get(key)
        return _kept(self._plans, key, self._make(rules), self._most) if found is None else found

    def _make(self, rules: Rules | None) -> Plan:
        own, asked = self._own, rules or Rules()
        allowed = self._base if rules is None else self._base & self._passing(rules)
        boosts: dict[int, float] = {}
        for item, amount in (*own.boost.items(), *asked.boost.items()):
            index = self.catalog.index(item)
            if 0 < index < len(self._scored):
                boosts[index] = boosts.get(index, 0.0) + amount
        limits = dict(own.at_most)
        for name, limit in asked.at_most.items():
            limits[name] = min(limit, limits.get(name, limit))
        pins = [self.catalog.index(item) for item in asked.pinned or own.pinned]
        return Plan(
            allowed=allowed,
            unwanted=torch.from_numpy(~(allowed[: len(self._scored)] & self._scored)),
            seen=asked.seen or own.seen or self._seen,
            seen_days=asked.seen_days or own.seen_days,
            seen_actions=asked.seen_actions or own.seen_actions,
            pinned=tuple(index for index in dict.fromkeys(pins) if allowed[index]),
            caps=tuple(Cap(limit, *self._values(name)) for name, limit in limits.items()),
            boosted=np.array(list(boosts), dtype=np.int64),
            boosts=np.array(list(boosts.values()), dtype=np.float32),
        )

    def _passing(self, rules: Rules) -> Bools:
        """(N + 1,) bool: items that `allow`, `deny` and `where` let pass."""
        size = len(self.catalog) + 1
        passing = np.ones(size, dtype=np.bool_)
        if rules.allow is not None:
            passing = np.zeros(size, dtype=np.bool_)
            passing[self._indices(rules.allow)] = True
        if rules.where is not None:
            passing &= self._meeting(rules.where)
        passing[self._indices(rules.deny)] = False
        passing[0] = False
        return passing

    def _indices(self, ids: Iterable[str]) -> Ints:
        return np.array([self.catalog.index(item) for item in ids], dtype=np.int64)

    def _meeting(self, where: str) -> Bools:
        met = self._where.get(where)
        if met is None:
            rows = matching(parse(where), self.catalog.frame)
            met = _kept(self._where, where, np.concatenate([[False], rows]), self._most)
        return met

    def _values(self, feature: str) -> tuple[Ints, Ints]:
        """Where each item's values of a feature begin, (N + 2,), and the values as numbers, item by item."""
        if feature not in self._caps:
            frame = self.catalog.frame
            if feature not in frame.columns:
                raise ConfigError(unknown("item feature", feature, frame.columns), "see at_most in the rules")
            flat = frame.select(pl.col(feature).alias("value")).with_row_index("row", 1)
            flat = flat.explode("value") if isinstance(frame.schema[feature], pl.List) else flat
            flat = flat.drop_nulls()
            counts = np.bincount(flat["row"].to_numpy(), minlength=frame.height + 1)
            start = np.concatenate([[0], np.cumsum(counts)])
            self._caps[feature] = start, flat["value"].rank("dense").to_numpy().astype(np.int64)
        return self._caps[feature]


def _kept(cache: dict[Any, Made], key: object, made: Made, most: int) -> Made:
    """Keep what was made, of `most` the newest."""
    if len(cache) >= most:
        cache.pop(next(iter(cache)), None)
    cache[key] = made
    return made
