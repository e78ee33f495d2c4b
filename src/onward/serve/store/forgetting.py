"""Forgetting a user: everything of the user goes, and a keyed hash stays that refuses what is sent too late."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from onward.errors import ConfigError, FormatError
from onward.manifest import BundleManifest
from onward.serve.store.attribution import remove_lists
from onward.serve.store.database import Reader, Transaction
from onward.serve.store.tombstones import Tombstones
from onward.serve.store.values import ID_DAYS, Copy

_DAY = 86_400_000_000


def remove_user(transaction: Transaction, user: str, now: int, tombstones: Tombstones) -> dict[str, int]:
    """Remove everything of a user and leave the tombstone; returns the rows removed of each table."""
    keys = transaction.read("SELECT user_key FROM users WHERE id = ?", (user,))
    key = keys[0][0] if keys else 0
    lists = [
        request for (request,) in transaction.read("SELECT request_id FROM impressions WHERE user_id = ?", (user,))
    ]
    clicks = transaction.run("DELETE FROM clicks WHERE seq IN (SELECT seq FROM events WHERE user_key = ?)", (key,))
    recent = transaction.read(
        "SELECT id, received FROM events WHERE user_key = ? AND received >= ?", (key, now - ID_DAYS * _DAY)
    )
    # an event without a time of its own, sent once more, would look new: the hashed ids tell that it is not
    tombstones.keep_ids(transaction, [(name, None, received) for name, received in recent])
    removed = {
        "events": transaction.run("DELETE FROM events WHERE user_key = ?", (key,)),
        "clicks": clicks,
        "shown": transaction.run("DELETE FROM shown WHERE user_id = ?", (user,)),
        "impressions": len(lists),
        "users": transaction.run("DELETE FROM users WHERE user_key = ?", (key,)),
    }
    remove_lists(transaction, lists)
    tombstones.leave(transaction, user, now)
    return removed


def user_since(reader: Reader, user: str) -> int | None:
    """When the first event or list of a user that the store still has was received or answered; None without any."""
    found = reader.read(
        "SELECT min(received) FROM events WHERE user_key = (SELECT user_key FROM users WHERE id = ?) "
        "UNION ALL SELECT min(time) FROM impressions WHERE user_id = ? "
        "UNION ALL SELECT min(time) FROM shown WHERE user_id = ?",
        (user, user, user),
    )
    return min((first for (first,) in found if first is not None), default=None)


def remember_copy(transaction: Transaction, path: str, kind: str, now: int) -> None:
    """Keep that a backup or an export was made."""
    transaction.run(
        "INSERT INTO copies(path, kind, time) VALUES (?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, time = excluded.time",
        (path, kind, now),
    )


def copies_since(reader: Reader, first: int | None) -> tuple[Copy, ...]:
    """Backups and exports made at or after a time, oldest first; all of them where no time is known."""
    found = reader.read("SELECT kind, path, time FROM copies WHERE time >= ? ORDER BY time, path", (first or 0,))
    return tuple(Copy(*row) for row in found)


def bundles_with_user_rows(folders: Iterable[Path]) -> tuple[str, ...]:
    """Those of the bundle folders that hold rows of training users, by their paths.

    Weights have no ids of users, so it can't be told whether there is a row of one user.

    Raises:
        FormatError: a folder has no readable manifest.json.
    """
    return tuple(str(folder) for folder in folders if _manifest(folder).holds_user_rows)


def _manifest(folder: Path) -> BundleManifest:
    file = folder / "manifest.json"
    try:
        return BundleManifest.parse(json.loads(file.read_text(encoding="utf-8")), str(file))
    except FileNotFoundError:
        raise FormatError(f"{folder} is no bundle: it has no manifest.json", "name bundle folders") from None
    except (ValueError, TypeError) as error:
        raise FormatError(f"{file} is damaged: {error}", "export the model again") from None
    except ConfigError as error:
        raise FormatError(f"{file} is damaged: {error.message}", "export the model again") from None
