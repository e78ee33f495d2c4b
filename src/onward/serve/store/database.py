"""What the store needs of a database. Its SQL is written once; a dialect fills in where the two differ.

Values for many rows go in as one JSON text, and a history comes out as one text, so that a statement is one call:
each call into SQLite lets go of the interpreter's lock, and getting it back beside busy threads takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Dialect:
    """Fills in SQL: `{name}` by the backend's words, `?` by its placeholder.

    Attributes:
        words: name -> SQL. `texts` and `rows` are tables `given(value)` made of one JSON parameter: of texts, and of
            arrays whose members are `given.value ->> 0` and so on.
        placeholder: of a parameter.
    """

    words: dict[str, str]
    placeholder: str
    _filled: dict[str, str] = field(default_factory=dict)

    def fill(self, sql: str) -> str:
        """The statement in the backend's own words."""
        filled = self._filled.get(sql)
        if filled is None:
            filled = sql.format(**self.words).replace("?", self.placeholder)
            self._filled[sql] = filled
        return filled


class Reader(Protocol):
    """Something that answers queries."""

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        ...


class Transaction(Reader, Protocol):
    """One write transaction: no other writer of the store is at work until it ends."""

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; returns the rows that it changed."""
        ...


class Database(Reader, Protocol):
    """A database of one store. `read` sees what is committed and may be called from any thread."""

    backend: Literal["sqlite", "postgresql"]

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A write transaction, durable when the block ends without an error; called by one thread only."""
        ...

    def tidy(self) -> None:
        """Called by the writer thread after commits, when everybody has been answered: the place for checkpoints."""
        ...

    def erase(self, text: str) -> tuple[bool, tuple[str, ...]]:
        """Overwrite freed places and the log, as far as the backend can, and look for a text that must be gone.

        Called by the writer thread outside a transaction. Returns whether all was overwritten, and details.
        """
        ...

    def backup(self, path: Path) -> None:
        """Write a verified copy to a new file."""
        ...

    def sizes(self) -> tuple[int, int | None]:
        """Bytes of the database, and of its log where that can be told."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


def pack(values: Iterable[Any]) -> str:
    """Values as the JSON parameter of `{texts}` or `{rows}`."""
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def counter(reader: Reader, name: str) -> int:
    """A number that the store keeps by name; 0 when it was never set."""
    found = reader.read("SELECT value FROM counters WHERE name = ?", (name,))
    return int(found[0][0]) if found else 0


def advance(transaction: Transaction, name: str, by: int = 1) -> int:
    """Raise a counter; returns its new value."""
    found = transaction.read(
        "INSERT INTO counters(name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value",
        (name, by),
    )
    return int(found[0][0])
