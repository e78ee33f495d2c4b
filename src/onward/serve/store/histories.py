"""Reading what users did: histories, seen items, recent popularity, the log in order of commits."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

from onward.data.sequences import Ints
from onward.serve.store.database import Reader, pack
from onward.serve.store.values import StoredEvent, StoredHistory

_END = 2**62
_RECORD = np.dtype([("time", ">i8"), ("seq", ">i8"), ("item", ">u4"), ("action", ">u2"), ("valued", ">u2")])
# A history is one text: hexadecimal records, `;`, then the values of those that have one. See `database`.
_NEWEST = """
SELECT coalesce({packed}, '') || ';' || coalesce({values}, '') FROM (
    SELECT time, seq, item_key, action_key, value FROM events
    WHERE user_key = (SELECT user_key FROM users WHERE id = %s) AND time < ?
    ORDER BY time DESC, seq DESC LIMIT ?) newest"""
_ONE = _NEWEST % "?"
_SEVERAL = f"SELECT given.value, ({_NEWEST % 'given.value'}) FROM {{texts}}"
_EVENTS = """
SELECT e.seq, e.id, u.id, i.id, e.time, e.received, a.id, e.value, e.request_id, e.group_id, e.features
FROM events e JOIN users u ON u.user_key = e.user_key JOIN items i ON i.item_key = e.item_key
LEFT JOIN actions a ON a.action_key = e.action_key
WHERE e.seq > ? ORDER BY e.seq LIMIT ?"""


def read_history(reader: Reader, user: str, limit: int, before: int | None) -> StoredHistory:
    """The newest events of a user, oldest first."""
    return unpack(reader.read(_ONE, (user, _END if before is None else before, limit))[0][0])


def read_histories(reader: Reader, users: Sequence[str], limit: int, before: int | None) -> list[StoredHistory]:
    """The newest events of each user, oldest first, as of one moment."""
    found: dict[str, str] = dict(reader.read(_SEVERAL, (_END if before is None else before, limit, pack(users))))
    return [unpack(found[user]) for user in users]


def unpack(text: str) -> StoredHistory:
    """A history from the text that the database makes of it, in whatever order the rows come."""
    records, _, numbers = text.partition(";")
    rows = np.frombuffer(bytes.fromhex(records), _RECORD)
    values = np.full(len(rows), np.nan, np.float32)
    if numbers:
        values[rows["valued"] > 0] = np.fromstring(numbers, np.float64, sep=",")
    times, seqs = rows["time"].astype(np.int64), rows["seq"].astype(np.int64)
    order = np.lexsort((seqs, times))
    items, actions = rows["item"].astype(np.int64), rows["action"].astype(np.int64)
    return StoredHistory(items[order], times[order], actions[order], values[order], seqs[order])


def read_seen(
    reader: Reader, user: str, since: int | None, actions: Collection[str] | None, before: int | None
) -> Ints:
    """Distinct item keys of a user's events, ascending."""
    query = "SELECT {item_keys} FROM events WHERE user_key = (SELECT user_key FROM users WHERE id = ?)"
    parameters: list[Any] = [user]
    if since is not None:
        query += " AND time >= ?"
        parameters.append(since)
    if before is not None:
        query += " AND time < ?"
        parameters.append(before)
    if actions is not None:
        query += " AND action_key IN (SELECT action_key FROM actions WHERE id IN (SELECT given.value FROM {texts}))"
        parameters.append(pack(actions))
    text = reader.read(query, parameters)[0][0]
    if not text:
        return np.zeros(0, np.int64)
    keys = np.sort(np.fromstring(text, np.int64, sep=","))  # SQLite takes longer to keep them apart than to read them
    distinct: Ints = keys[np.diff(keys, prepend=0) > 0]
    return distinct


def read_groups(reader: Reader, seqs: Ints) -> dict[int, str]:
    """Seq -> name of its group, for the events that have one."""
    found = reader.read(
        "SELECT seq, group_id FROM events WHERE group_id IS NOT NULL "
        "AND seq IN (SELECT CAST(given.value AS {int}) FROM {texts})",
        (pack(map(str, seqs.tolist())),),
    )
    return dict(found)


def read_features(reader: Reader, seqs: Ints) -> dict[int, dict[str, JsonValue]]:
    """Seq -> features of the event, for the events that have some."""
    found = reader.read(
        "SELECT seq, features FROM events WHERE features IS NOT NULL "
        "AND seq IN (SELECT CAST(given.value AS {int}) FROM {texts})",
        (pack(map(str, seqs.tolist())),),
    )
    values = json.loads(f"[{','.join(text for _, text in found)}]")
    return dict(zip((seq for seq, _ in found), values, strict=True))


def read_popular(reader: Reader, since: int, limit: int) -> list[tuple[int, int]]:
    """(item key, events at or after a time), most first."""
    found = reader.read(
        "SELECT item_key, count(*) AS events FROM events WHERE time >= ? "
        "GROUP BY item_key ORDER BY events DESC, item_key LIMIT ?",
        (since, limit),
    )
    return [(item, count) for item, count in found]


def read_since(reader: Reader, cursor: int, limit: int) -> tuple[list[StoredEvent], int]:
    """Events with a seq above the cursor, ascending, and the next cursor."""
    rows = reader.read(_EVENTS, (cursor, limit))
    events = [StoredEvent(*(*row[:-1], {} if row[-1] is None else json.loads(row[-1]))) for row in rows]
    return events, events[-1].seq if events else cursor
