"""Which clicks belong to which lists. A click is an event that names the request it answers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from onward.serve.store.database import Reader, Row, Transaction, pack
from onward.serve.store.values import FUTURE_LIMIT, Clicks, ClickThrough


def attribute(transaction: Transaction, requests: Iterable[str], window: int) -> None:
    """Count the clicks on these requests that count and were not counted yet.

    It is called for requests of new clicks and for those of lists that are only now written: with several workers a
    click can come first.

    Args:
        window: microseconds after its list in which a click counts.
    """
    ids = pack(set(requests))
    lists = transaction.read(
        "SELECT request_id, user_id, time, items, model FROM impressions "
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
            "INSERT INTO clicks(request_id, item_key, seq, time, model) SELECT given.value ->> 0, "
            "CAST(given.value ->> 1 AS {int}), CAST(given.value ->> 2 AS {int}), CAST(given.value ->> 3 AS {int}), "
            "given.value ->> 4 FROM {rows} "
            # the clause keeps SQLite from reading ON as that of a join
            "WHERE TRUE ON CONFLICT (request_id, item_key) DO NOTHING",
            (pack(counted),),
        )


def matches(lists: Iterable[Row], clicks: Iterable[Row], window: int) -> list[tuple[str, int, int, int, str]]:
    """(request, item key, seq, time and model of the list) of the first click that counts of each request and item.

    Args:
        lists: (request, user, time, items as JSON, model).
        clicks: (request, user, item, item key, time, seq).
        window: microseconds after its list in which a click counts; a client's clock may be behind by as much as
            it may be ahead.
    """
    answered = {
        request: (user, time, frozenset(json.loads(items)), model) for request, user, time, items, model in lists
    }
    first: dict[tuple[str, int], int] = {}
    for request, user, item, key, time, seq in clicks:
        if request not in answered:
            continue
        owner, start, items, _ = answered[request]
        if user == owner and item in items and start - FUTURE_LIMIT <= time <= start + window:
            first[request, key] = min(seq, first.get((request, key), seq))
    return [(request, key, seq, answered[request][1], answered[request][3]) for (request, key), seq in first.items()]


_COUNTS = (
    "SELECT model, count(*) FROM impressions WHERE time >= ? GROUP BY model",
    # a list is shown after it was answered, so that its own index finds those that matter
    "SELECT i.model, count(*) FROM shown s JOIN impressions i ON i.request_id = s.request_id AND i.time >= ? "
    "WHERE s.time >= ? GROUP BY i.model",
    "SELECT model, count(*) FROM clicks WHERE time >= ? GROUP BY model",
)


def click_through(reader: Reader, since: int) -> Clicks:
    """Click-through of the lists answered at or after a time, and the clicks since then that belong to none."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for place, query in enumerate(_COUNTS):
        for model, count in reader.read(query, (since,) * query.count("?")):
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
