"""Items as people name them: ids or titles, in a list or in one line of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onward.data.catalog import Catalog

SUGGESTED = 5
"""Unknown names that near ones are looked up for, at most."""


@dataclass(frozen=True)
class Named:
    """Names looked up.

    Attributes:
        indices: item indices of the known names, in order.
        unknown: the names that no item has.
    """

    indices: list[int]
    unknown: list[str]

    def notes(self, catalog: Catalog) -> list[str]:
        """One sentence for each unknown name, the first few with the nearest names."""
        notes = []
        for number, name in enumerate(self.unknown):
            near = catalog.suggest(name) if number < SUGGESTED else []
            guess = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
            notes.append(f"'{name}' is not in the catalog, so it is ignored{guess}")
        return notes


def find_items(names: str | Iterable[str | int], catalog: Catalog) -> Named:
    """Look up a line of comma-separated names, or a list with one name each."""
    if isinstance(names, str):
        return _from_text(names, catalog)
    texts = [str(name).strip() for name in names]
    found = [catalog.find(text) for text in texts]
    return Named(
        [index for index in found if index],
        [text for text, index in zip(texts, found, strict=True) if not index],
    )


def _from_text(text: str, catalog: Catalog) -> Named:
    """Split at commas. Titles may hold commas themselves, so the longest run of parts that names an item is one.

    A name in double quotes is one name whatever it holds.
    """
    parts = text.split(",")
    longest = 1 + max((name.count(",") for name in [*catalog.ids, *(catalog.titles or [])]), default=0)
    indices: list[int] = []
    unknown: list[str] = []
    at = 0
    while at < len(parts):
        quoted = _quoted(parts, at)
        size, index = _longest_known(parts, at, max(longest, quoted), catalog)
        if index:
            indices.append(index)
        else:
            size = max(1, quoted)
            name = _unquote(",".join(parts[at : at + size]))
            unknown += [name] if name else []
        at += size
    return Named(indices, unknown)


def _longest_known(parts: Sequence[str], at: int, longest: int, catalog: Catalog) -> tuple[int, int]:
    for size in range(min(longest, len(parts) - at), 0, -1):
        name = ",".join(parts[at : at + size]).strip()
        index = catalog.find(name) or catalog.find(_unquote(name))
        if index:
            return size, index
    return 1, 0


def _quoted(parts: Sequence[str], at: int) -> int:
    """How many parts a quoted name that starts here takes; 0 when none starts."""
    if not parts[at].lstrip().startswith('"'):
        return 0
    for last in range(at, len(parts)):
        name = ",".join(parts[at : last + 1]).strip()
        if len(name) > 1 and name.endswith('"'):
            return last + 1 - at
    return 0


def _unquote(name: str) -> str:
    name = name.strip()
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == '"' else name
