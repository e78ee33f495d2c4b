"""A store that a command made and never used is removed again when the command fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

_KEPT = ("events", "users", "impressions", "shown", "catalog", "api_keys", "tombstones", "copies")
"""Tables of which a row is somebody's data."""


@contextmanager
def discarded_on_failure(url: str) -> Iterator[None]:
    """If the block fails, an SQLite file that wasn't there before is removed, with the folders that were made for it.

    It stays where another process has it open, or anything was kept in it: another command may have come between. A
    PostgreSQL database is left as it is.
    """
    if "://" in url:
        yield
        return
    path = Path(url)
    there = path.exists()
    folders = [folder for folder in path.parents if not folder.exists()]
    try:
        yield
    except BaseException:
        if not there and path.is_file():
            with suppress(apsw.Error, OSError):
                if _remove_unused(path):
                    for folder in folders:  # the innermost first; one that holds something else stays
                        folder.rmdir()
        raise


def _remove_unused(path: Path) -> bool:
    """Remove a store that nobody uses and that holds nothing. Raises apsw.Error where somebody has it open."""
    store = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        store.pragma("journal_mode", "delete")  # leaves no log beside the file; refused while another has it open
        store.execute("BEGIN EXCLUSIVE")
        used = any(store.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchall() != [(0,)] for table in _KEPT)
        used |= store.execute("SELECT 1 FROM deployment WHERE active IS NOT NULL").fetchall() != []
        if not used:
            path.unlink()
        return not used
    finally:
        store.close()
