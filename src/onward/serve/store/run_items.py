"""Items added, changed and deleted while the server runs. Readers compare a version and read what changed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from onward.errors import DataError
from onward.serve.store.database import Reader, Row, Transaction, advance, counter, pack
from onward.serve.store.values import ItemRecord

_COLUMNS = "SELECT id, features, deleted FROM catalog"
_UPSERT = """
INSERT INTO catalog(id, features, deleted, version)
SELECT given.value ->> 0, given.value ->> 1, CAST(given.value ->> 2 AS {int}), CAST(? AS {int}) FROM {rows} WHERE TRUE
ON CONFLICT (id) DO UPDATE SET """


def put_items(transaction: Transaction, records: Sequence[ItemRecord]) -> int:
    """Add or replace items; returns the new version. Raises DataError for features that are no JSON, or no Unicode."""
    latest = {record.id: record for record in records}
    rows = [(one.id, _packed(one), int(one.deleted)) for one in latest.values()]
    version = advance(transaction, "catalog")
    changes = "features = excluded.features, deleted = excluded.deleted, version = excluded.version"
    transaction.run(_UPSERT + changes, (version, pack(rows)))
    return version


def _packed(record: ItemRecord) -> str:
    """Features as the store keeps them."""
    try:
        text = json.dumps(record.features, ensure_ascii=False, allow_nan=False)
        text.encode()  # a lone surrogate is a str, and nothing that a database takes
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"the features of item {record.id!r} can't be stored: {error}") from None
    return text


def delete_items(transaction: Transaction, ids: Sequence[str]) -> int:
    """Mark items deleted, whether or not the run-time catalog had them; returns the new version."""
    version = advance(transaction, "catalog")
    rows = [(name, "{}", 1) for name in dict.fromkeys(ids)]
    transaction.run(_UPSERT + "deleted = 1, version = excluded.version", (version, pack(rows)))
    return version


def read_items(reader: Reader, ids: Sequence[str] | None) -> list[ItemRecord]:
    """Records of these items, or of all, ordered by id."""
    if ids is None:
        return _records(reader.read(_COLUMNS))
    return _records(reader.read(_COLUMNS + " WHERE id IN (SELECT given.value FROM {texts})", (pack(ids),)))


def read_changed(reader: Reader, version: int) -> tuple[list[ItemRecord], int]:
    """Records that changed after a version, and the version they bring a reader to."""
    # the counter first: a change committed in between is then read again, never missed
    latest = counter(reader, "catalog")
    return _records(reader.read(_COLUMNS + " WHERE version > ?", (version,))), latest


def _records(rows: list[Row]) -> list[ItemRecord]:
    return sorted(
        (ItemRecord(name, json.loads(features), bool(deleted)) for name, features, deleted in rows),
        key=lambda record: record.id,
    )
