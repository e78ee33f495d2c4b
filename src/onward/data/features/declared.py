"""`features.toml`: what a person says of the columns, before anything is inferred.

::

    [events.device]
    kind = "category"
    known_at_request = true

    [events.session_token]
    use = false

    [events.review]
    sentiment = true

    [items.released]
    kind = "time"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onward.config import Config, read_toml
from onward.data.features.kinds import Kind, Owner
from onward.errors import ConfigError, unknown

NONE = "none"
"""Given in place of a file, it says: store no feature of the events."""


class Declared(Config):
    """What is said of one column."""

    kind: Kind | None = None
    """Its kind; inferred where absent."""
    known_at_request: bool = False
    """Events only: known when a recommendation is asked for, so of the event to predict too."""
    sentiment: bool = False
    """Events only: the mood of this text becomes a further feature, the number NAME.sentiment, from -1 to 1."""
    use: bool = True
    """Whether it is a feature. If not, a column of the events isn't stored; one of items or users is only shown."""


class FeatureFile(Config):
    """A whole features.toml: owner -> column -> what is said of it."""

    events: dict[str, Declared] = {}
    """Columns of the log."""
    items: dict[str, Declared] = {}
    """Columns of the item tables."""
    users: dict[str, Declared] = {}
    """Columns of the user tables."""


def read_declared(file: str | Path | None) -> tuple[FeatureFile, str]:
    """The file's declarations and its name; none without a file.

    Raises:
        ConfigError: no such file, no TOML, an unknown key or kind, `known_at_request` or `sentiment` of an item or a
            user, or the `sentiment` of what isn't a text.
    """
    if file is None or file == NONE:
        return FeatureFile(), "features.toml"
    path = Path(file)
    values = read_toml(path)
    FeatureFile.parse({owner: {} for owner in values}, path.name)  # owners that there are
    read: dict[str, dict[str, Declared]] = {}
    for owner, columns in values.items():
        if not isinstance(columns, dict) or not all(isinstance(said, dict) for said in columns.values()):
            raise ConfigError(f"{path.name}: [{owner}] holds a table for each column", f"for example [{owner}.price]")
        read[owner] = {name: Declared.parse(said, f"{path.name}: {owner}.{name}") for name, said in columns.items()}
    made = FeatureFile(**read)
    for owner in ("items", "users"):
        for name, said in getattr(made, owner).items():
            if said.known_at_request:
                raise ConfigError(
                    f"{path.name}: [{owner}.{name}]: features of {owner} are always known, so known_at_request "
                    "has no meaning there",
                    "leave it out",
                )
            if said.sentiment:
                raise ConfigError(
                    f"{path.name}: [{owner}.{name}]: sentiment is the mood of an event's text, such as a review",
                    "leave it out",
                )
    for name, said in made.events.items():
        if said.sentiment and said.kind not in (None, "text"):
            raise ConfigError(
                f"{path.name}: [events.{name}]: sentiment is the mood of a text, and kind says {said.kind}",
                "leave out its kind or sentiment",
            )
    return made, path.name


def check_declared(said: Mapping[str, Declared], owner: Owner, columns: Sequence[str], where: str) -> None:
    """Raise ConfigError for a declared column that no table has, with the nearest."""
    for name in said:
        if name not in columns:
            table = {"events": "the log", "items": "--items", "users": "--users"}[owner]
            raise ConfigError(
                f"{where}: [{owner}.{name}]: {unknown('column', name, columns)}",
                f"name a column of {table}, or leave this table out of {where}",
            )
