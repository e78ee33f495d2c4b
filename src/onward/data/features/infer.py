"""From what was seen of a column to its kind, or to the reason why it is no feature."""

from __future__ import annotations

from dataclasses import dataclass

from onward.data.features.kinds import MAX_VALUES, SETS, Kind, Owner, plain, says_code, says_text, says_time
from onward.data.features.survey import Survey

SOME = 100
"""With fewer values than this nothing is called an identifier."""
_EPOCH = 1e8
_RECBOLE: dict[str, Kind] = {"token": "category", "token_seq": "categories", "float": "number", "float_seq": "vector"}


@dataclass(frozen=True)
class Inferred:
    """What was decided for one column: its kind, or why it is left out."""

    kind: Kind | None
    why_not: str = ""


def infer(name: str, seen: Survey, owner: Owner) -> Inferred:
    """The kind of a column, by its values first and its name where they leave it open.

    Columns that tell nothing (no values, one value) and those that name single rows (identifiers) are left out, and
    so are types that hold no feature.
    """
    if "other" in seen.families:
        return Inferred(None, f"its type, {seen.dtype}, holds no feature")
    if not seen.known:
        return Inferred(None, "it has no values")
    if seen.families & {"vector", "set"} and len(seen.families) > 1:
        return Inferred(None, f"it is {' and '.join(sorted(seen.families))} in different tables")
    kind = _kind(name, seen)
    if kind == "vector":
        return Inferred(kind)
    distinct = seen.distinct
    if owner == "events" and distinct == 1 and seen.known == seen.rows > 1:
        return Inferred(None, "it has the same value everywhere")
    if _identifies(kind, seen, distinct):
        return Inferred(None, f"nearly all of its {seen.known:,} values differ, so it names rows and describes none")
    if owner == "events" and kind in ("category", "categories", "text") and distinct > MAX_VALUES:
        return Inferred(None, f"it has {distinct:,} different values, and {MAX_VALUES:,} are the limit")
    return Inferred(kind)


def _kind(name: str, seen: Survey) -> Kind:
    if len(seen.types) == 1:
        return _RECBOLE[next(iter(seen.types))]
    if "vector" in seen.families:
        return "vector"
    if "set" in seen.families:
        return "categories"
    if "flag" in seen.families:
        return "category"
    if seen.lists:
        return "vector" if seen.vectors and seen.fraction else "categories"
    if seen.numbers and not seen.padded:
        if says_time(name) and seen.low >= _EPOCH:
            return "time"
        return "category" if seen.whole and says_code(name) else "number"
    if seen.times:
        return "time"
    if seen.bars and plain(name) in SETS:
        return "categories"
    few = seen.known >= SOME and seen.distinct <= 0.2 * seen.known
    return "text" if (says_text(name) and not few) or seen.words >= 4 else "category"


def _identifies(kind: Kind, seen: Survey, distinct: int) -> bool:
    if seen.known < SOME or kind not in ("category", "number"):
        return False
    if kind == "category":
        return distinct >= 0.9 * seen.known
    numbered = seen.high - seen.low < 1.1 * seen.known  # 1, 2, 3...: numbers of rows
    return seen.whole and numbered and distinct >= 0.99 * seen.known
