"""Where features come from: the tables and arrays of a dataset, and what of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast

import polars as pl

from onward.data.dataset import FEATURE, Dataset
from onward.data.features.kinds import Kind, Owner
from onward.data.sequences import Histories
from onward.errors import ConfigError, unknown

OWNERS: tuple[Owner, ...] = ("events", "items", "users")
OWN: Mapping[str, Kind] = {"action": "category", "value": "number", "time": "time"}
"""Columns that events may have without being declared features."""
LINKS: Literal["links"] = "links"
"""Name and kind of the links between users."""


@dataclass(frozen=True)
class Offered:
    """One column that a dataset has.

    Attributes:
        key: its name among the columns of histories, or among what is known of a history.
    """

    owner: Owner
    name: str
    kind: Kind | Literal["links"]
    key: str
    known_at_request: bool = False

    def is_meant(self, word: str) -> bool:
        """Whether a word of the settings means it: its name, OWNER.NAME, its owner, or its kind."""
        return word in (self.name, f"{self.owner}.{self.name}", self.owner, self.kind)


@dataclass(frozen=True)
class Source:
    """What a dataset offers.

    Attributes:
        histories: of all users; coded columns hold codes, 0 missing.
        items, users: row r is item index r + 1, and user r.
        offered: the columns.
        values: name of a coded event column -> its different values; code c is place c - 1.
        links: who is linked to whom, as in `Dataset.links`.
    """

    histories: Histories
    items: pl.DataFrame
    users: pl.DataFrame
    offered: Sequence[Offered]
    values: Callable[[str], pl.Series]
    links: pl.DataFrame | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Of a prepared dataset."""
        manifest, histories = dataset.manifest, dataset.histories
        actions = pl.Series(manifest.actions, dtype=pl.String)
        events = [(name, kind, FEATURE + name) for name, kind in manifest.event_features.items()]
        events += [(name, kind, name) for name, kind in OWN.items() if name in histories.columns]
        tables: dict[Owner, dict[str, str]] = {"items": manifest.item_features, "users": manifest.user_features}
        known = manifest.known_at_request
        offered = [Offered("events", name, cast(Kind, kind), key, name in known) for name, kind, key in events]
        for owner, kinds in tables.items():
            offered += [Offered(owner, name, cast(Kind, kind), f"{owner}.{name}") for name, kind in kinds.items()]
        if dataset.links is not None:
            offered.append(Offered("users", LINKS, LINKS, LINKS))

        def values(name: str) -> pl.Series:
            return actions if name == "action" else dataset.event_values(name)

        return cls(histories, dataset.catalog.frame, dataset.users, offered, values, dataset.links)

    def chosen(self, features: Literal["none", "all"] | Sequence[str], without: Sequence[str]) -> list[Offered]:
        """The columns that settings ask for. Raises ConfigError for a word that means none of them."""
        asked = () if features in ("none", "all") else features
        words = {one.name for one in self.offered} | {one.kind for one in self.offered} | set(OWNERS)
        for word in [*asked, *without]:
            if not any(one.is_meant(word) for one in self.offered):
                raise ConfigError(unknown("feature", word, words), "onward data describe shows all columns")
        wanted = [one for one in self.offered if features == "all" or _any(one, asked)]
        return [one for one in wanted if not _any(one, without)]

    def column(self, offered: Offered) -> pl.Series:
        """The column of the item or user table."""
        return (self.items if offered.owner == "items" else self.users)[offered.name]


def _any(one: Offered, words: Iterable[str]) -> bool:
    return any(one.is_meant(word) for word in words)
