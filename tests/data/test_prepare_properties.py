"""`prepare` against a slow obvious version, whatever the chunks and buckets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pieces import tiny_pieces

from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.errors import DataError

Event = tuple[str, str, int, str, float]
NAMES = ["user", "item", "time", "action", "value"]

# no dots and pluses: in a text file 1.0 and 1e+05 are refused as floats
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0.+"), min_size=1, max_size=6)
# a few short ids, so that users, items and times meet, among any others: commas, quotes, newlines, emoji
ids = st.one_of(st.sampled_from(["a", "b", "B", "é", "10", "9", "😀", 'x"y', "p,q", "l\nm"]), texts)
events = st.lists(
    st.tuples(ids, ids, st.integers(0, 6), st.sampled_from(["view", "buy"]), st.integers(0, 9).map(float)),
    min_size=1,
    max_size=40,
)


def slow(rows: list[Event], duplicates: str = "keep") -> dict[str, list[tuple[str, int, str, float]]]:
    """User -> events by time, equal times in the order of the rows."""
    result: dict[str, list[tuple[str, int, str, float]]] = {}
    for user in sorted({row[0] for row in rows}, key=str.encode):
        mine = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        keys = [(item, time, action) for _, item, time, action, _ in mine]
        if duplicates == "first":
            mine = [row for place, row in enumerate(mine) if keys.index(keys[place]) == place]
        elif duplicates == "last":
            mine = [row for place, row in enumerate(mine) if keys[place] not in keys[place + 1 :]]
        result[user] = [row[1:] for row in mine]
    return result


def read_back(dataset: Dataset) -> dict[str, list[tuple[str, int, str, float]]]:
    data, manifest = dataset.histories, dataset.manifest
    result = {}
    for row, user in enumerate(dataset.users["user"]):
        window = slice(data.start[row], data.end[row])
        columns = [data.columns[name][window].tolist() for name in ("item", "time", "action", "value")]
        result[user] = [
            (dataset.catalog.id(item), time // 1_000_000, manifest.actions[action], value)
            for item, time, action, value in zip(*columns, strict=True)
        ]
    return result


def frame_of(rows: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=NAMES, orient="row")


def prepared(rows: list[Event], chunk: int, bucket: int, **options: object) -> Dataset:
    """Prepared with tiny chunks, buckets and slices, opened again."""
    with tempfile.TemporaryDirectory() as folder, tiny_pieces(chunk, bucket):
        prepare(frame_of(rows), Path(folder) / "dataset", **options)  # type: ignore[arg-type]
        dataset = open_dataset(Path(folder) / "dataset")
        for name in ("histories", "catalog", "users"):  # cached before the folder goes
            getattr(dataset, name)
        return dataset


@settings(deadline=None, max_examples=40)
@given(rows=events, duplicates=st.sampled_from(["keep", "first", "last"]))
def test_equals_the_slow_version(rows, duplicates):
    dataset = prepared(rows, 500, 500, duplicates=duplicates)
    assert read_back(dataset) == slow(rows, duplicates)
    assert list(read_back(dataset)) == sorted({row[0] for row in rows}, key=str.encode)
    assert dataset.catalog.ids == sorted({row[1] for row in rows}, key=str.encode)


@settings(deadline=None, max_examples=40)
@given(
    rows=events,
    chunk=st.integers(1, 7),
    bucket=st.integers(1, 12),
    options=st.sampled_from(
        [{}, {"duplicates": "last"}, {"group": "action"}, {"group_ties": True}, {"min_item_events": 2}]
    ),
)
def test_chunks_and_buckets_change_nothing(rows, chunk, bucket, options):
    assert outcome(rows, chunk, bucket, options) == outcome(rows, 500, 500, options)


def outcome(rows: list[Event], chunk: int, bucket: int, options: dict[str, object]) -> object:
    try:
        return prepared(rows, chunk, bucket, **options).manifest
    except DataError as error:  # the filter left nothing
        return error.message


@settings(deadline=None, max_examples=30)
@given(rows=events)
def test_how_users_rows_are_interleaved_changes_nothing(rows):
    by_user = sorted(rows, key=lambda row: row[0])
    assert prepared(by_user, 500, 500).manifest.hash == prepared(rows, 500, 500).manifest.hash


@settings(deadline=None, max_examples=30)
@given(rows=events, suffix=st.sampled_from(["csv", "parquet", "jsonl", "arrow"]))
def test_any_file_gives_what_the_frame_gives(rows, suffix):
    frame = frame_of(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log.{suffix}"
        write = {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}
        write.get(suffix, frame.write_ipc)(path)
        from_file = prepare(path, Path(folder) / "file").manifest
        from_frame = prepare(frame, Path(folder) / "frame").manifest
    assert from_file.hash == from_frame.hash
    assert from_file.model_copy(update={"sources": [], "hash": ""}) == from_frame.model_copy(
        update={"sources": [], "hash": ""}
    )


@settings(deadline=None, max_examples=30)
@given(rows=events)
def test_ties_and_repeats_by_counting(rows):
    manifest = prepared(rows, 3, 5).manifest
    times = [(user, time) for user, _, time, _, _ in rows]
    assert manifest.tie_share == pytest.approx(np.mean([times.count(key) > 1 for key in times]))
    cut = sorted(row[2] for row in rows)[int(len(rows) * (1 - 0.1 - 0.1))]
    ordered = [(user, event[0], event[1]) for user, mine in slow(rows).items() for event in mine]
    training = [(user, item) for user, item, time in ordered if time < cut]
    repeats = sum((training[place] in training[:place]) for place in range(len(training)))
    assert manifest.repeat_share == pytest.approx(repeats / len(training) if training else 0.0)
