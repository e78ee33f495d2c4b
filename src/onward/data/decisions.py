"""What preparing found and decided, in sentences: printed, and kept in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onward.data.facts import Facts
from onward.data.features.choose import Features
from onward.data.ingest import Scan
from onward.data.order import Ordered, Rules
from onward.data.readers import Source
from onward.data.tables import Joined
from onward.data.times import DATE, describe

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_UNITS |= {"min": "minutes", "h": "hours", "d": "days"}
_YEAR_1971 = 365 * 86_400_000_000


def sentences(
    roles: Mapping[str, str],
    given: Mapping[str, str | None],
    scanned: Scan,
    ordered: Ordered,
    rules: Rules,
    facts: Facts,
    seen: str,
) -> list[str]:
    """One sentence a decision, the commonest first."""
    found = [
        f"{role} = column '{name}' ({'given' if given.get(role) == name else 'found by its name'})"
        for role, name in roles.items()
    ]
    rejected = scanned.rows - scanned.used
    if rejected:
        found.append(f"{rejected:,} of {scanned.rows:,} rows can't be used; rejected.parquet says which and why")
    return found + _times(scanned, ordered, rules, facts) + _groups(rules) + _events(ordered, rules, facts, seen)


def _times(scanned: Scan, ordered: Ordered, rules: Rules, facts: Facts) -> list[str]:
    if scanned.times is None or facts.time_min is None or facts.time_max is None:
        return [
            "no times: each user's events are in the order of the input, and protocol 'time' is not possible "
            "(--time COLUMN names a column of times)"
        ]
    unit = scanned.times.unit
    kind = (
        "dates and times; those without a zone are taken as UTC"
        if unit == DATE
        else f"epoch {_UNITS[unit]} ({'given' if scanned.times.given else 'found by their size'})"
    )
    said = [f"times are {kind}: {describe(facts.time_min)} to {describe(facts.time_max)} UTC"]
    if facts.time_max < _YEAR_1971 and unit != DATE and scanned.times.given is None:
        said.append("no time lies after 1970: if they aren't epoch numbers of that unit, say which: --time-unit")
    if ordered.unsorted_rows:
        said.append("rows did not come in time order; they are sorted, equal times in the order of the input")
    if facts.tie_share and rules.groups == "none":
        share = f"{facts.tie_share:.1%}" if facts.tie_share >= 0.001 else "less than 0.1%"
        said.append(f"{share} of the events share their user's time with another; the order of the input decides")
    return said


def _groups(rules: Rules) -> list[str]:
    if rules.groups == "none":
        return []
    by = "basket" if rules.groups == "basket" else "time"
    return [f"events of one user and {by} form a group: none of them is input for another"]


def _events(ordered: Ordered, rules: Rules, facts: Facts, seen: str) -> list[str]:
    said = []
    if ordered.duplicate_rows:
        done = "kept" if rules.duplicates == "keep" else f"left out, the {rules.duplicates} of each is kept"
        said.append(f"rows that repeat another's user, item and time: {ordered.duplicate_rows:,}; {done}")
    if rules.filters:
        names = ", ".join(f"{name} = {number}" for name, number in rules.filters.items())
        said.append(f"{ordered.filtered:,} events are left out by the filters ({names}), which look at the future")
    why = f"{facts.repeat_share:.1%} of the training events are repeats"
    may = "may" if seen == "include" else "may not"
    said.append(f"items that a user had before {may} be recommended again ({why}; the limit is 1%)")
    return said


def comma_sentences(tables: Sequence[Source]) -> list[str]:
    """Whose numbers were read with a comma for the decimal point."""
    found = dict.fromkeys((table.name, name) for table in tables for name in table.commas)
    return [f"numbers of column '{name}' in {table} have a decimal comma" for table, name in found]


def feature_sentences(events: Features, items: Joined, users: Joined) -> list[str]:
    """What became of every further column."""
    said = [f"column '{name}' of the log is left out: {why}" for name, why in events.left_out.items()]
    for owner, kinds in (("events", events.kinds), ("items", items.kinds), ("users", users.kinds)):
        if kinds:
            said.append(f"features of {owner}: {_by_kind(kinds)}")
    if events.known:
        said.append(
            f"known when a recommendation is asked for: {', '.join(events.known)}; nothing else of the event is"
        )
    elif events.kinds:
        said.append("of the event to predict no feature is known (features.toml can say known_at_request)")
    return said + items.notes + users.notes


def _by_kind(kinds: Mapping[str, str]) -> str:
    """`colour, shop (category); price (number)`."""
    names: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        names.setdefault(kind, []).append(name)
    return "; ".join(f"{', '.join(some)} ({kind})" for kind, some in names.items())
