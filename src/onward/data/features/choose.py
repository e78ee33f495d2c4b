"""Which columns of the log become features of the events, and why the others don't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onward.data.columns import file_name
from onward.data.dataset import FEATURE
from onward.data.features.declared import Declared, check_declared
from onward.data.features.events import SENTIMENT, EventFeature, SentimentFeature, make_feature
from onward.data.features.infer import infer
from onward.data.features.kinds import MAX_NAME
from onward.data.features.survey import survey
from onward.data.readers import Source
from onward.errors import ConfigError


@dataclass(frozen=True)
class Features:
    """The features of the events.

    Attributes:
        columns: those that are kept, in the order of the log.
        known: names known at the request; `action` among them means the role.
        left_out: column -> why it isn't kept.
        declared: what the file says, by column.
        file: the file's name.
    """

    columns: Sequence[EventFeature] = ()
    known: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    file: str = "features.toml"

    def said_by(self, name: str) -> str | None:
        """Name of the file that says a column's kind; None where it was inferred."""
        said = self.declared.get(name)
        return self.file if said is not None and said.kind is not None else None

    @property
    def kinds(self) -> dict[str, str]:
        """Feature -> kind."""
        return {feature.name: feature.kind for feature in self.columns}


def choose_features(
    sources: Sequence[Source], roles: Mapping[str, str], said: Mapping[str, Declared], file: str, work: Path
) -> Features:
    """Every further column of the log, by what the file says of it or else by what it looks like.

    Args:
        roles: role -> column; these columns are no features of their own.
        said: what features.toml says of the columns of the log, and `file`, its name.
        work: where vectors wait until they are written.

    Raises:
        ConfigError: a declared column that isn't there, or that has a role.
        DataError: a table can't be read.
    """
    every = list(dict.fromkeys(name for source in sources for name in source.columns))
    check_declared(said, "events", every, file)
    known = _check_roles(roles, said, file)
    further = [name for name in every if name not in roles.values()]
    open_ = [name for name in further if name not in said or (said[name].use and said[name].kind is None)]
    seen = survey(sources, open_)
    columns: list[EventFeature] = []
    left_out: dict[str, str] = {}
    for name in further:
        kind, why_not = said[name].kind if name in said else None, ""
        if name in said and not said[name].use:
            kind, why_not = None, f"{file} says use = false"
        elif len(file_name(FEATURE + name)) > MAX_NAME:
            kind, why_not = None, "its name is too long"
        elif kind is None:
            found = infer(name, seen[name], "events")
            kind, why_not = found.kind, found.why_not
        if kind is None:
            left_out[name] = why_not
        else:
            columns.append(make_feature(name, kind, work, len(columns)))
        if name in said and said[name].sentiment:
            if kind not in ("text", None):
                raise ConfigError(
                    f"{file}: [events.{name}]: sentiment is the mood of a text, and the column looks like a {kind}",
                    'say kind = "text" if it is one, or leave sentiment out',
                )
            if name + SENTIMENT in further:
                raise ConfigError(
                    f"{file}: [events.{name}]: the log has a column '{name + SENTIMENT}' already", "leave sentiment out"
                )
            columns.append(SentimentFeature(name))
    for name, its in said.items():
        if its.use and name in left_out:
            raise ConfigError(
                f"{file}: [events.{name}]: the column is no feature: {left_out[name]}",
                "give its kind, or say use = false",
            )
    known += [feature.name for feature in columns if feature.name in said and said[feature.name].known_at_request]
    return Features(columns, known, left_out, said, file)


def _check_roles(roles: Mapping[str, str], said: Mapping[str, Declared], file: str) -> list[str]:
    """The roles among what is known at the request: `action` at most."""
    known = []
    for role, column in roles.items():
        its = said.get(column)
        if its is None:
            continue
        plain = its.use and its.kind in (None, "category") and not its.sentiment
        if role == "action" and its.known_at_request and plain:
            known.append("action")
            continue
        raise ConfigError(
            f"{file}: [events.{column}]: the column is the {role} of the events, not a feature of its own",
            "of an action, known_at_request = true may be said; "
            f"else leave it out of {file}, or name another column with --{role}",
        )
    return known
