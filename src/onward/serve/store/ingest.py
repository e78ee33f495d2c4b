"""Events into the tables: what each is refused for, which were there already, and keys for what is new."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from onward.serve.store.attribution import attribute
from onward.serve.store.database import Reader, Row, Transaction, advance, pack
from onward.serve.store.tombstones import Tombstones
from onward.serve.store.values import FUTURE_LIMIT, MAX_FEATURES_BYTES, MAX_ID_BYTES, Event, Outcome

_EARLIEST = -(2**61)
_CACHED_KEYS = 200_000
FORGOTTEN = "the user asked to be forgotten after this event"


@dataclass(frozen=True, slots=True)
class _New:
    place: int
    event: Event
    time: int
    body: int


class Ingest:
    """Stores events; the keys of items and actions are remembered, as they never change once they are committed.

    Args:
        window: microseconds after its list in which a click counts.
    """

    def __init__(self, tombstones: Tombstones, window: int) -> None:
        self._tombstones = tombstones
        self._window = window
        self._known: dict[str, dict[str, int]] = {"item": {}, "action": {}}

    def store(self, transaction: Transaction, events: Sequence[Event], now: int) -> list[Outcome]:
        """Store events; one outcome an event, in order.

        Args:
            now: when the server received them, microseconds UTC.
        """
        if not events:
            return []
        outcomes: dict[int, Outcome] = {}
        fresh: dict[str, _New] = {}
        repeated: list[_New] = []  # ids that came before in the same call
        for place, event in enumerate(events):
            reason = problem(event, now)
            if reason is not None:
                outcomes[place] = Outcome(event.id, "rejected", None, reason)
                continue
            time = now if event.time is None else event.time
            one = _New(place, event, time, body_hash(event, self._tombstones.secret))
            if fresh.setdefault(event.id, one) is not one:
                repeated.append(one)
        self._find_used(transaction, fresh.values(), outcomes)
        users = self._users(transaction, [one for one in fresh.values() if one.place not in outcomes], outcomes)
        new = [one for one in fresh.values() if one.place not in outcomes]
        if new:
            self._insert(transaction, new, users, now, outcomes)
        self._find_used(transaction, repeated, outcomes)
        for one in repeated:  # not stored: refused like its first
            outcomes.setdefault(one.place, outcomes[fresh[one.event.id].place])
        return [outcomes[place] for place in range(len(events))]

    def _find_used(self, transaction: Transaction, events: Collection[_New], outcomes: dict[int, Outcome]) -> None:
        """Fill in the outcomes of events whose id is taken."""
        if not events:
            return
        ids = {one.event.id for one in events}
        found = transaction.read(
            "SELECT id, body, seq FROM events WHERE id IN (SELECT given.value FROM {texts})", (pack(ids),)
        )
        used = {name: (body, seq) for name, body, seq in found}
        used |= {name: (body, None) for name, body in self._tombstones.used_ids(transaction, ids - used.keys()).items()}
        for one in events:
            if one.event.id in used:
                outcomes[one.place] = _again(one, *used[one.event.id])

    def _users(self, transaction: Transaction, new: Sequence[_New], outcomes: dict[int, Outcome]) -> dict[str, int]:
        """Keys of the users of new events; events from before a forgetting are refused."""
        names = {one.event.user for one in new}
        found = transaction.read(
            "SELECT id, user_key, forgotten FROM users WHERE id IN (SELECT given.value FROM {texts})", (pack(names),)
        )
        keys = {name: key for name, key, _ in found}
        forgotten = {name: time for name, _, time in found if time}
        forgotten |= self._tombstones.times(transaction, names - keys.keys())
        for one in new:
            if one.time <= forgotten.get(one.event.user, _EARLIEST):
                outcomes[one.place] = Outcome(one.event.id, "rejected", None, FORGOTTEN)
        missing = sorted({one.event.user for one in new if one.place not in outcomes} - keys.keys())
        if missing:
            last = advance(transaction, "users", len(missing))
            rows = [(key, name, forgotten.get(name, 0)) for key, name in enumerate(missing, last - len(missing) + 1)]
            transaction.run(
                "INSERT INTO users(user_key, id, forgotten) SELECT CAST(given.value ->> 0 AS {int}), "
                "given.value ->> 1, CAST(given.value ->> 2 AS {int}) FROM {rows}",
                (pack(rows),),
            )
            keys |= {name: key for key, name, _ in rows}
        return keys

    def _insert(
        self,
        transaction: Transaction,
        new: Sequence[_New],
        users: dict[str, int],
        now: int,
        outcomes: dict[int, Outcome],
    ) -> None:
        items = self._keys(transaction, "item", {one.event.item for one in new})
        actions = self._keys(transaction, "action", {one.event.action for one in new if one.event.action is not None})
        first = advance(transaction, "seq", len(new)) - len(new) + 1
        rows: list[Row] = []
        for seq, one in enumerate(new, first):
            event = one.event
            action = 0 if event.action is None else actions[event.action]
            rows.append(
                (seq, event.id, users[event.user], items[event.item], one.time, action, event.value,
                 event.request_id, event.group, one.body, _packed(event.features))
            )  # fmt: skip
            outcomes[one.place] = Outcome(event.id, "stored", seq)
        transaction.run(_INSERT, (now, pack(rows)))
        requests = {one.event.request_id for one in new if one.event.request_id is not None}
        if requests:
            attribute(transaction, requests, self._window)

    def _keys(self, transaction: Transaction, kind: str, names: set[str]) -> dict[str, int]:
        """Keys of items or actions; new ones are made."""
        known = self._known[kind]
        keys = {name: known[name] for name in names if name in known}
        missing = names - keys.keys()
        if not missing:
            return keys
        found = dict(read_keys(transaction, kind, missing))
        if len(known) + len(found) > _CACHED_KEYS:
            known.clear()
        known |= found  # only what was read: new keys may yet be rolled back
        keys |= found
        new = sorted(missing - found.keys())
        if new:
            last = advance(transaction, f"{kind}s", len(new))
            made = [(key, name) for key, name in enumerate(new, last - len(new) + 1)]
            transaction.run(
                f"INSERT INTO {kind}s({kind}_key, id) "
                "SELECT CAST(given.value ->> 0 AS {int}), given.value ->> 1 FROM {rows}",
                (pack(made),),
            )
            keys |= {name: key for key, name in made}
        return keys


_INSERT = """
INSERT INTO events(
    seq, id, user_key, item_key, time, received, action_key, value, request_id, group_id, body, features)
SELECT CAST(given.value ->> 0 AS {int}), given.value ->> 1, CAST(given.value ->> 2 AS {int}),
    CAST(given.value ->> 3 AS {int}), CAST(given.value ->> 4 AS {int}), CAST(? AS {int}),
    CAST(given.value ->> 5 AS {int}), CAST(given.value ->> 6 AS {real}), given.value ->> 7, given.value ->> 8,
    CAST(given.value ->> 9 AS {int}), given.value ->> 10
FROM {rows}"""


def read_keys(reader: Reader, kind: str, names: Iterable[str]) -> list[tuple[str, int]]:
    """(id, key) of the items or actions that have one."""
    found = reader.read(
        f"SELECT id, {kind}_key FROM {kind}s WHERE id IN (SELECT given.value FROM {{texts}})", (pack(names),)
    )
    return [(name, key) for name, key in found]


def problem(event: Event, now: int) -> str | None:
    """What an event can't be stored for, or None."""
    for name, text, needed in (
        ("id", event.id, True),
        ("user", event.user, True),
        ("item", event.item, True),
        ("action", event.action, False),
        ("request_id", event.request_id, False),
        ("group", event.group, False),
    ):
        wrong = text_problem(text, needed)
        if wrong:
            return f"{name} {wrong}"
    if event.value is not None and not math.isfinite(event.value):
        return f"value is {event.value}: it must be finite"
    if event.time is not None and event.time > now + FUTURE_LIMIT:
        ahead = (event.time - now) // 1_000_000
        return f"time is {ahead} seconds ahead of the server's clock, and at most {FUTURE_LIMIT // 1_000_000} are taken"
    if event.time is not None and event.time < _EARLIEST:
        return f"time {event.time} is too long ago: times are microseconds since 1970, UTC"
    return _features_problem(event.features) if event.features else None


def _features_problem(features: Mapping[str, JsonValue]) -> str | None:
    for name in features:
        wrong = text_problem(name, needed=True)
        if wrong:
            return f"the name of a feature {wrong}"
    try:
        size = len((_packed(features) or "").encode())
    except UnicodeEncodeError:
        return "features are not valid Unicode (a lone surrogate)"
    except (TypeError, ValueError, RecursionError) as error:
        return f"features can't be stored: {error}"
    return (
        None
        if size <= MAX_FEATURES_BYTES
        else f"features have {size} bytes, and at most {MAX_FEATURES_BYTES} are taken"
    )


def _packed(features: Mapping[str, JsonValue]) -> str | None:
    """Features as the store keeps them: JSON in one order; None without any."""
    if not features:
        return None
    return json.dumps(features, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_problem(text: str | None, needed: bool) -> str | None:
    """What an id or a name can't be stored for, or None."""
    if text is None:
        return "is missing" if needed else None
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return "is not valid Unicode (a lone surrogate)"
    if not size:
        return "is empty"
    if size > MAX_ID_BYTES:
        return f"has {size} bytes, and at most {MAX_ID_BYTES} are taken"
    return "holds a NUL character" if "\0" in text else None


def body_hash(event: Event, key: bytes) -> int:
    """Keyed hash of all that an event says but its id, to tell a repetition from another event of the same id."""
    value = None if event.value is None else float(event.value)
    said: tuple[object, ...] = (
        event.user, event.item, event.time, event.action, value, event.request_id, event.group
    )  # fmt: skip
    body = repr(said if not event.features else (*said, _packed(event.features)))  # stores have hashes without features
    digest = hashlib.blake2b(body.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _again(one: _New, body: int | None, seq: int | None) -> Outcome:
    """What becomes of an event whose id is taken by an event of this body; None where its user was forgotten."""
    if body is None:
        return Outcome(one.event.id, "rejected", None, FORGOTTEN)
    if body == one.body:
        return Outcome(one.event.id, "duplicate", seq)
    return Outcome(one.event.id, "conflict", seq, "this id was used for an event with another content")
