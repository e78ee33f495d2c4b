"""Retention: old events and lists go, in pieces, so that events are stored between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onward.serve.store.attribution import remove_lists
from onward.serve.store.database import Reader, Row, Transaction, pack
from onward.serve.store.tombstones import Tombstones
from onward.serve.store.values import ID_DAYS, Retained

PIECE = 2_000
"""Rows removed in one transaction."""
_DAY = 86_400_000_000
Write = Callable[[Callable[[Transaction], int]], int]


def retain(
    reader: Reader, write: Write, tombstones: Tombstones, now: int, days: float | None, a_user: int | None
) -> Retained:
    """Remove what the store has had for so many days, and all but the newest so many events of each user.

    The age of an event counts from when it was received: an old log that is imported stays as long as what happens now,
    and nothing stays longer than that. Ids of removed events stay for `ID_DAYS` from then. Users without an event that
    is left go too.
    """
    events = impressions = 0
    if days is not None:
        oldest = now - int(days * _DAY)
        events += _repeat(write, lambda transaction: _remove_old(transaction, tombstones, oldest))
        impressions = _repeat(write, lambda transaction: _remove_old_lists(transaction, oldest))
    if a_user is not None:
        for user, count in _busy_users(reader, a_user):
            excess = count - a_user
            while excess > 0:
                piece = min(PIECE, excess)
                write(partial(_remove_oldest, tombstones=tombstones, user=user, count=piece))
                events, excess = events + piece, excess - piece
    users = write(_remove_idle_users)
    ids = write(lambda transaction: _drop_ids(transaction, now - ID_DAYS * _DAY))
    return Retained(events, impressions, users, ids)


def _repeat(write: Write, remove: Callable[[Transaction], int]) -> int:
    total = 0
    while piece := write(remove):
        total += piece
    return total


def _remove_old(transaction: Transaction, tombstones: Tombstones, oldest: int) -> int:
    found = transaction.read("SELECT seq FROM events WHERE received < ? ORDER BY received LIMIT ?", (oldest, PIECE))
    return _remove(transaction, tombstones, found)


def _remove_oldest(transaction: Transaction, tombstones: Tombstones, user: int, count: int) -> int:
    found = transaction.read(
        "SELECT seq FROM events WHERE user_key = ? ORDER BY time, seq LIMIT ?",
        (user, count),
    )
    return _remove(transaction, tombstones, found)


def _remove(transaction: Transaction, tombstones: Tombstones, found: list[Row]) -> int:
    """Remove events by seq; their ids stay taken."""
    seqs = pack(found)
    chosen = "seq IN (SELECT CAST(given.value ->> 0 AS {int}) FROM {rows})"
    removed = transaction.read(f"SELECT id, body, received FROM events WHERE {chosen}", (seqs,))
    tombstones.keep_ids(transaction, [(name, body, received) for name, body, received in removed])
    transaction.run(f"DELETE FROM clicks WHERE {chosen}", (seqs,))
    transaction.run(f"DELETE FROM events WHERE {chosen}", (seqs,))
    return len(found)


def _remove_old_lists(transaction: Transaction, oldest: int) -> int:
    transaction.run("DELETE FROM shown WHERE time < ?", (oldest,))
    found = transaction.read("SELECT request_id FROM impressions WHERE time < ? LIMIT ?", (oldest, PIECE))
    remove_lists(transaction, [request for (request,) in found])
    return len(found)


def _busy_users(reader: Reader, most: int) -> list[Row]:
    return reader.read("SELECT user_key, count(*) FROM events GROUP BY user_key HAVING count(*) > ?", (most,))


def _remove_idle_users(transaction: Transaction) -> int:
    return transaction.run(
        "DELETE FROM users WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.user_key = users.user_key)"
    )


def _drop_ids(transaction: Transaction, oldest: int) -> int:
    return transaction.run("DELETE FROM used_ids WHERE received < ?", (oldest,))
