"""Which clicks belong to which lists. A click is an event that names the request it answers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from onward.serve.database import Reader, Row, Transaction, pack
from onward.serve.store import FUTURE_LIMIT, Clicks, ClickThrough


def attribute(transaction: Transaction, requests: Iterable[str], window: int) -> None:
    """Count the clicks on these requests that count and were not counted yet.

    It is called for requests of new clicks and for those of lists that are only now written: with several workers a
    click can come first.

    Args:
        window: microseconds after its list in which a click counts.
    """
    ids = pack(set(requests))
    lists = transaction.read(
        "SELECT request_id, user_id, time, items FROM impressions "
        "WHERE request_id IN (SELECT given.value FROM {texts}) AND user_id IS NOT NULL",
        (ids,),
    )
    if not lists:
        return
    clicks = transaction.read(
        "SELECT e.request_id, u.id, i.id, e.item_key, e.time, e.seq FROM events e "
        "JOIN users u ON u.user_key = e.user_key JOIN items i ON i.item_key = e.item_key "
        "WHERE e.request_id IN (SELECT given.value FROM {texts})",
        (ids,),
    )
    counted = matches(lists, clicks, window)
    if counted:
        transaction.run(
            "INSERT INTO clicks(request_id, item_key, seq) SELECT given.value ->> 0, "
            "CAST(given.value ->> 1 AS {int}), CAST(given.value ->> 2 AS {int}) FROM {rows} "
            # the clause keeps SQLite from reading ON as that of a join
            "WHERE TRUE ON CONFLICT (request_id, item_key) DO NOTHING",
            (pack(counted),),
        )


def matches(lists: Iterable[Row], clicks: Iterable[Row], window: int) -> list[tuple[str, int, int]]:
    """(request, item key, seq) of the first click that counts of each request and item.

    Args:
        lists: (request, user, time, items as JSON).
        clicks: (request, user, item, item key, time, seq).
        window: microseconds after its list in which a click counts; a client's clock may be behind by as much as
            it may be ahead.
    """
    shown = {request: (user, time, frozenset(json.loads(items))) for request, user, time, items in lists}
    first: dict[tuple[str, int], int] = {}
    for request, user, item, key, time, seq in clicks:
        if request not in shown:
            continue
        owner, start, items = shown[request]
        if user == owner and item in items and start - FUTURE_LIMIT <= time <= start + window:
            first[request, key] = min(seq, first.get((request, key), seq))
    return [(request, key, seq) for (request, key), seq in first.items()]


def click_through(reader: Reader, since: int) -> Clicks:
    """Click-through of the lists answered at or after a time, and the clicks since then that belong to none."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for place, joined in enumerate(("", "JOIN shown s USING (request_id)", "JOIN clicks c USING (request_id)")):
        query = f"SELECT i.model, count(*) FROM impressions i {joined} WHERE i.time >= ? GROUP BY i.model"
        for model, count in reader.read(query, (since,)):
            counts[model][place] = count
    models = tuple(ClickThrough(model, *counts[model]) for model in sorted(counts))
    return Clicks(models, unattributed(reader, since))


def unattributed(reader: Reader, since: int) -> int:
    """Clicks since a time that belong to no logged list of that user, item and window, or repeat one that does."""
    found = reader.read(
        "SELECT count(*) FROM events e WHERE e.request_id IS NOT NULL AND e.time >= ? "
        "AND NOT EXISTS (SELECT 1 FROM clicks c WHERE c.seq = e.seq)",
        (since,),
    )
    return int(found[0][0])


def remove_lists(transaction: Transaction, requests: Sequence[str]) -> None:
    """Remove lists with what was shown and clicked of them."""
    for table in ("clicks", "shown", "impressions"):
        transaction.run(
            f"DELETE FROM {table} WHERE request_id IN (SELECT given.value FROM {{texts}})", (pack(requests),)
        )
