"""Who gets the next trial: every model an equal share of time first, then the better half, and so on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onward.search.study import Family, model_value

FIRST_ROUND = 0.2
"""Share of the time in which every model has an equal part; the later rounds divide the rest evenly."""


def survivors(count: int) -> list[int]:
    """Models that take part in each round: all, the better half, a quarter..., the best."""
    rounds = [count]
    while rounds[-1] > 1:
        rounds.append(math.ceil(rounds[-1] / 2))
    return rounds


def round_at(used: float, count: int) -> int:
    """Number of the round, from 0, when that share of the time is used."""
    rounds = len(survivors(count))
    if used < FIRST_ROUND or rounds == 1:
        return 0
    return min(rounds - 1, 1 + int((used - FIRST_ROUND) / (1 - FIRST_ROUND) * (rounds - 1)))


def in_order(families: Sequence[Family]) -> list[Family]:
    """The best first; those without a result last, in their order."""

    def key(family: Family) -> tuple[bool, float]:
        best = family.best
        value = None if best is None else model_value(best)
        return value is None, 0.0 if value is None else value if family.lower else -value

    return sorted(families, key=key)


def takes_part(families: Sequence[Family], used: float) -> list[Family]:
    """The models of the round that is on, the best first."""
    number = round_at(used, len(families))
    return in_order(families)[: survivors(len(families))[number]]


def next_family(families: Sequence[Family], used: float, fits: Callable[[Family], bool]) -> Family | None:
    """Whoever of those that take part had the least time; the best of the others where none of those has a trial left
    that fits, and None where nobody has.

    Args:
        fits: whether a model has something left to try, and the time for it.
    """
    inside = [family for family in takes_part(families, used) if fits(family)]
    if inside:
        return min(inside, key=lambda family: family.used)
    return next((family for family in in_order(families) if fits(family)), None)
