"""Counts and sizes of a store."""

from __future__ import annotations

from onward.serve.store.database import Database, counter
from onward.serve.store.tables import VERSION
from onward.serve.store.values import StoreStats

_COUNTED = ("events", "users", "items", "impressions", "shown", "clicks", "tombstones")


def read_stats(database: Database, lost: int) -> StoreStats:
    """Count everything.

    Args:
        lost: lists that were lost and aren't in the store's own count yet.
    """
    counts = {table: database.read(f"SELECT count(*) FROM {table}")[0][0] for table in _COUNTED}
    oldest, newest = database.read("SELECT min(time), max(time) FROM events")[0]
    clicks = database.read("SELECT count(*) FROM events WHERE request_id IS NOT NULL")[0][0]
    used, log = database.sizes()
    return StoreStats(
        backend=database.backend,
        schema=VERSION,
        events=counts["events"],
        users=counts["users"],
        items=counts["items"],
        oldest=oldest,
        newest=newest,
        last_seq=counter(database, "seq"),
        impressions=counts["impressions"],
        shown=counts["shown"],
        attributed=counts["clicks"],
        unattributed=clicks - counts["clicks"],
        impressions_lost=counter(database, "impressions_lost") + lost,
        forgotten=counts["tombstones"],
        bytes=used,
        log_bytes=log,
    )
