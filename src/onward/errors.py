"""Everything Onward raises on purpose.

::

    OnwardError                 exit code 1
    ├── InputError              exit code 2: what was given can't be used
    │   ├── DataError           an event table, a column, a row
    │   ├── ConfigError         a setting: unknown key, value out of range, unknown name
    │   │   └── ExpressionError an expression over item features, with the character where it goes wrong
    │   ├── FormatError         a dataset, run or bundle folder: wrong hash, version, missing file
    │   ├── OutputError         where to write: the folder exists, the disk is full or read-only
    │   └── ConflictError       a change of a store that something else has overtaken
    ├── TrainingError           a training that can't go on: NaN, divergence
    ├── StoreError              the event store can't be read or written now: disk full, database gone
    ├── Overloaded              more requests wait than will be answered soon
    └── MissingExtraError       an optional dependency isn't installed

Each carries a message that names the thing and the value, and a hint that says what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MANY_NAMES = 40
"""Known names that an error lists; of more it shows the nearest."""


class OnwardError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        message: what is wrong and where.
        hint: what to do about it; may be empty.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class InputError(OnwardError):
    """What was given can't be used as it is."""

    code = "input"
    exit_code = 2


class DataError(InputError):
    """A table, a column or a row that can't be read as events."""

    code = "data"


class ConfigError(InputError):
    """A setting that is unknown or out of range."""

    code = "config"


class ExpressionError(ConfigError):
    """An expression over item features that can't be read, or doesn't fit the catalog.

    Attributes:
        position: the character where it goes wrong, counted from 1.
    """

    code = "expression"

    def __init__(self, problem: str, position: int, hint: str = "") -> None:
        super().__init__(f"{problem}, at character {position} of the expression", hint)
        self.position = position


class FormatError(InputError):
    """A folder that isn't a sound dataset, run or bundle."""

    code = "format"


class OutputError(InputError):
    """A place that can't be written to."""

    code = "output"


class ConflictError(InputError):
    """A change that doesn't fit the state of things any more: taken, already under way, overtaken by another."""

    code = "conflict"


class StoreError(OnwardError):
    """The event store can't be read or written now. Nothing is acknowledged; the same may be tried again."""

    code = "store"


class TrainingError(OnwardError):
    """A training that can't go on."""

    code = "training"


class Overloaded(OnwardError):  # noqa: N818 - it is a state of the server, not a fault
    """More requests wait than the server will answer soon.

    Attributes:
        retry_after: seconds after which it is worth asking again.
    """

    code = "overloaded"

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests are waiting already", f"try again in {retry_after:g} s")
        self.retry_after = retry_after


class MissingExtraError(OnwardError):
    """An optional dependency that isn't installed."""

    code = "missing_extra"

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs the package '{package}', which is not installed",
            f"install it with: pip install 'onward[{extra}]'",
        )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence for a name that isn't among the known ones, with the nearest suggestion; of many, those nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    guess = f"; did you mean '{near[0]}'?" if near else ";"
    shown, more = names, ""
    if len(names) > MANY_NAMES:
        shown = sorted(difflib.get_close_matches(name, names, n=MANY_NAMES // 4, cutoff=0.0))
        more = f" and {len(names) - len(shown)} more"
    return f"unknown {kind} '{name}'{guess} known: {', '.join(shown) or 'none'}{more}"
