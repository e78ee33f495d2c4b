"""Items as the page shows them: a title and one line of features."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from onward.data.catalog import SAME_COLUMN
from onward.serve.api.replies import ItemOut
from onward.serve.service import Service
from onward.serve.web.words import feature

SHOWN_FEATURES = 3
SAMPLED_ITEMS = 1_000
MANY_VALUES = 40
"""With more different values than this, a text column is taken for words: MovieLens writes genres so."""
LONGEST_FEATURE = 60
"""Characters of a feature that stands in a line; longer ones are for the item's own page."""


@dataclass(frozen=True)
class Line:
    """One item in a list."""

    item: str
    title: str
    features: str
    known: bool


def line(service: Service, item: str) -> Line:
    """An item's line; one that neither catalog knows is shown by its id."""
    found = service.item(item)
    if found is None:
        return Line(item, item, "", known=False)
    return Line(item, found.title, features_line(found), known=True)


def features_line(item: ItemOut) -> str:
    """The first features that fit on a line, without those that the title says already."""
    values = [feature(value) for value in item.features.values() if value not in (None, "", [])]
    short = [value for value in values if len(value) <= LONGEST_FEATURE and value not in item.title]
    return " · ".join(short[:SHOWN_FEATURES])


def example_rule(service: Service) -> str:
    """A rule that this catalog understands, to show how rules look: the commonest value of a category."""
    frame = service.deployer.engine.catalog.frame.head(SAMPLED_ITEMS)
    name = next((name for names in SAME_COLUMN for name in names if name in frame.columns), None)
    if name is None:
        return f'item != "{frame["item"][0]}"' if frame.height else ""
    values = frame[name].explode() if isinstance(frame[name].dtype, pl.List) else frame[name].cast(pl.String)
    words = values.drop_nulls().str.split(" ").explode() if values.n_unique() > MANY_VALUES else values.drop_nulls()
    common = words.mode().sort()
    return f'{name} = "{common[0]}"' if len(common) else ""
