"""A store as Parquet files: events and items as `onward prepare` reads them, and the lists that were answered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from onward.files import atomic_folder
from onward.serve.store.database import Reader, Row, counter, pack
from onward.serve.store.histories import read_since
from onward.serve.store.run_items import read_items
from onward.serve.store.values import ItemRecord, StoredEvent

Kind = pl.DataType | type[pl.DataType]
Schema = dict[str, Kind]
PIECE = 50_000
_TIME = pl.Datetime("us", "UTC")
_EVENTS: Schema = {
    "user": pl.String,
    "item": pl.String,
    "time": _TIME,
    "action": pl.String,
    "value": pl.Float64,
    "group": pl.String,
    "id": pl.String,
    "request_id": pl.String,
    "received": _TIME,
    "seq": pl.Int64,
}
_IMPRESSIONS: Schema = {
    "request_id": pl.String,
    "user": pl.String,
    "time": _TIME,
    "model": pl.String,
    "policy": pl.String,
    "items": pl.List(pl.String),
    "propensities": pl.List(pl.Float64),
    "sample": pl.Float64,
    "shown": pl.List(pl.String),
    "clicked": pl.List(pl.String),
}


def export(reader: Reader, folder: Path) -> dict[str, int]:
    """Write events.parquet, items.parquet and impressions.parquet into a new folder; returns the rows of each.

    Columns that `onward prepare` wants whole are: an event without an action has the action "event" where others have
    one, and one without a group is a group of its own. Columns that no event fills are left out. Each feature of events
    is a column; one that has the name of another column is `feature NAME`.

    An impression carries its items in the order of positions, their propensities where the policy was randomised, the
    share of the lists that was logged, the items reported as shown (null without a report) and the items clicked.

    Raises:
        OutputError: the folder exists or can't be written.
    """
    with atomic_folder(folder) as new:
        return {
            "events": _write_events(reader, new / "events.parquet"),
            "items": _write(new / "items.parquet", *_items(reader)),
            "impressions": _write(new / "impressions.parquet", _IMPRESSIONS, _impression_rows(reader)),
        }


def _write(file: Path, schema: Schema, pieces: Iterable[list[Row]]) -> int:
    """Write pieces of rows to one file, never holding more than one of them; returns the rows."""
    parts = file.with_suffix("")
    parts.mkdir()
    rows = 0
    for number, piece in enumerate(pieces):
        pl.DataFrame(piece, schema=schema, orient="row").write_parquet(parts / f"{number:06}.parquet")
        rows += len(piece)
    if rows:
        pl.scan_parquet(parts / "*.parquet").sink_parquet(file)
    else:
        pl.DataFrame(schema=schema).write_parquet(file)
    shutil.rmtree(parts)
    return rows


def _write_events(reader: Reader, file: Path) -> int:
    kinds = _event_kinds(reader)
    schema = {**_EVENTS, **{_column(name): kind for name, kind in kinds.items()}}
    rows = _write(file, schema, _event_rows(reader, kinds))
    frame = pl.scan_parquet(file)
    filled = frame.select(pl.col("action", "value", "group").is_not_null().any()).collect().row(0, named=True)
    whole = frame.drop(name for name, found in filled.items() if not found).with_columns(
        **({"action": pl.col("action").fill_null("event")} if filled["action"] else {}),
        **({"group": pl.coalesce("group", pl.format("event {}", "id"))} if filled["group"] else {}),
    )
    whole.sink_parquet(file.with_suffix(".whole"))
    file.with_suffix(".whole").replace(file)
    return rows


def _event_rows(reader: Reader, kinds: Mapping[str, Kind]) -> Iterator[list[Row]]:
    for events in _pieces(reader, counter(reader, "seq")):
        yield [
            (e.user, e.item, e.time, e.action, e.value, e.group, e.id, e.request_id, e.received, e.seq,
             *(_value(e.features.get(name), kind) for name, kind in kinds.items()))
            for e in events
        ]  # fmt: skip


def _pieces(reader: Reader, last: int) -> Iterator[list[StoredEvent]]:
    """Events up to a seq."""
    cursor = 0
    while cursor < last:
        events, cursor = read_since(reader, cursor, PIECE)
        if not events:
            return
        yield [event for event in events if event.seq <= last]


def _event_kinds(reader: Reader) -> dict[str, Kind]:
    """Column of each feature that an event has, by name."""
    found: dict[str, Kind] = {}
    for events in _pieces(reader, counter(reader, "seq")):
        values: dict[str, list[JsonValue]] = {}
        for event in events:
            for name, value in event.features.items():
                if value is not None:
                    values.setdefault(name, []).append(value)
        for name, some in values.items():
            kind = _kind(some)
            found[name] = kind if found.get(name, kind) == kind else pl.String
    return dict(sorted(found.items()))


def _column(feature: str) -> str:
    """A feature of an event as a column beside those that every event has."""
    return f"feature {feature}" if feature in _EVENTS else feature


def _impression_rows(reader: Reader) -> Iterator[list[Row]]:
    last = ""
    while found := reader.read(_LISTS, (last, PIECE)):
        last = found[-1][0]
        clicked: dict[str, list[str]] = {}
        for request, item in reader.read(_CLICKED, (pack(row[0] for row in found),)):
            clicked.setdefault(request, []).append(item)
        yield [
            (*row[:5], *(None if text is None else json.loads(text) for text in row[5:7]), row[7],
             None if row[8] is None else json.loads(row[8]), clicked.get(row[0], []))
            for row in found
        ]  # fmt: skip


_LISTS = """
SELECT i.request_id, i.user_id, i.time, i.model, i.policy, i.items, i.propensities, i.sample, s.items
FROM impressions i LEFT JOIN shown s USING (request_id)
WHERE i.request_id > ? ORDER BY i.request_id LIMIT ?"""
_CLICKED = """
SELECT c.request_id, i.id FROM clicks c JOIN items i USING (item_key)
WHERE c.request_id IN (SELECT given.value FROM {texts}) ORDER BY c.seq"""


def _items(reader: Reader) -> tuple[Schema, list[list[Row]]]:
    """Every item that an event names or the run-time catalog holds, and the features that the catalog has."""
    records = {record.id: record for record in read_items(reader, None)}
    names = sorted({name for (name,) in reader.read("SELECT id FROM items")} | records.keys())
    features = sorted({feature for record in records.values() for feature in record.features})
    kinds = {feature: _kind([record.features.get(feature) for record in records.values()]) for feature in features}
    schema: Schema = {"item": pl.String, **kinds, "deleted": pl.Boolean}
    rows: list[Row] = []
    for name in names:
        record = records.get(name, ItemRecord(name))
        values = (_value(record.features.get(feature), kind) for feature, kind in kinds.items())
        rows.append((name, *values, record.deleted))
    return schema, [rows] if rows else []


def _kind(values: Sequence[JsonValue]) -> Kind:
    """Column of a feature: numbers, truths, lists of texts or of numbers, and text for everything else."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in present):
        return pl.Boolean
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return pl.Float64
    if all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in present):
        return pl.List(pl.String)
    if all(isinstance(value, list) and all(isinstance(one, int | float) for one in value) for value in present):
        return pl.List(pl.Float64)
    return pl.String


def _value(value: JsonValue, kind: Kind) -> object:
    if kind == pl.List(pl.Float64) and isinstance(value, list):
        return [float(one) for one in value if isinstance(one, int | float)]
    if value is None or kind != pl.String or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
