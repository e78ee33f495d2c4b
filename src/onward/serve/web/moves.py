"""What moved between two lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["new", "up", "down", "same"]


@dataclass(frozen=True, slots=True)
class Move:
    """How an item came to its place.

    Attributes:
        kind: `new` where the list before didn't have it.
        places: by how many places it moved; 0 for `new` and `same`.
    """

    kind: Kind
    places: int = 0


def moves(before: Sequence[str], after: Sequence[str]) -> list[Move]:
    """One move for each item of `after`; both are lists of different ids, best first."""
    place = {item: position for position, item in enumerate(before)}
    return [_move(place.get(item), position) for position, item in enumerate(after)]


def _move(before: int | None, after: int) -> Move:
    if before is None:
        return Move("new")
    if before == after:
        return Move("same")
    return Move("up" if after < before else "down", abs(before - after))


def gone(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Items that left the list, in their order."""
    kept = set(after)
    return [item for item in before if item not in kept]


def summary(moved: Sequence[Move]) -> str:
    """One phrase for all: `4 new, 3 up, 1 down`."""
    counts = Counter(move.kind for move in moved)
    said = [f"{counts[kind]} {kind}" for kind in ("new", "up", "down") if counts[kind]]
    return ", ".join(said) or "nothing moved"
