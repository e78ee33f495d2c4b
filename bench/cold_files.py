"""Three public files as logs with strictly cold items: what training never sees, found in the requests of the test.

Where a file has no times, events get years that say what they are for: the years before VALIDATION train, so that the
protocol `time` divides the log as its publisher did.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from onward.text.encoders import encode_texts

VALIDATION, TEST = 1_700_000_000, 1_800_000_000
"""Seconds since 1970 from which on an event validates, and tests."""
TEXTS = ("text", "title", "description")
"""Columns of items that are texts."""
Rows = list[tuple[str, str, int]]


@dataclass(frozen=True)
class Log:
    """A log with cold items.

    Attributes:
        events: columns user, item, timestamp (seconds).
        items: column item_id and features.
        cold: the items that training must not know.
        cuts: first second of validation, and of the test.
        asked: users whose newest event alone is a request; None for all events of the test.
        by_time: whether the cold items are those that came last.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    cold: set[str]
    cuts: tuple[int, int]
    asked: set[str] | None = None
    by_time: bool = False

    def shuffled(self, seed: int) -> Log:
        """The same with the features of another item for each: what they say is gone, how they look stays."""
        order = np.random.default_rng(seed).permutation(self.items.height)
        features = self.items.drop("item_id")[order.tolist()]
        return replace(self, items=self.items.select("item_id").hstack(features))

    def inner(self, seed: int) -> Log:
        """The same question asked of what comes before the test, to choose settings by.

        Where the cold items came last: what training has is cut as the whole was. Else a seeded fifth of the items that
        training has leaves it and is cold, and the validation part asks for those. Nothing of the test's cold items is
        looked at.
        """
        training = pl.col("timestamp") < self.cuts[0]
        if self.by_time:
            return _by_time(self.events.filter(training), self.items)
        trained = self.events.filter(training)["item"].unique().sort()
        chosen = np.random.default_rng(seed).choice(len(trained), len(trained) // 5, replace=False)
        cold = set(trained.gather(chosen).to_list())
        kept = self.events.filter(~training | ~pl.col("item").is_in(cold))
        return replace(self, events=kept, cold=cold)

    def encoded(self, file: Path) -> Log:
        """With a column of vectors beside each text, made by MiniLM, or read from `file` where they are there.

        The file has each different text once, in whole 127ths of the largest number, so that it is small.
        """
        texts = [name for name in TEXTS if name in self.items.columns]
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            kept: dict[str, np.ndarray] = {}
            for name in texts:
                distinct, rows = np.unique(self.items[name].fill_null("").to_numpy(), return_inverse=True)
                vectors = encode_texts(distinct.tolist(), "minilm")
                scale = np.abs(vectors).max() / 127
                kept |= {f"{name} rows": rows, f"{name} scale": scale}
                kept[name] = np.round(vectors / scale).astype(np.int8)
            np.savez_compressed(file, **kept)
        with np.load(file) as read:
            made = {name: (read[name] * read[f"{name} scale"])[read[f"{name} rows"]] for name in texts}
        columns = [pl.Series(f"{name}_vector", made[name].astype(np.float32)).arr.to_list() for name in texts]
        return replace(self, items=self.items.with_columns(columns))


def amazon_beauty(folder: Path, seed: int) -> Log:
    """A seeded tenth of the items leaves all histories; the words are names of attributes, as a set and as one text."""
    sequences = [line.split() for line in (folder / "sequences.txt").read_text().splitlines()]
    names = {row[0]: row[1] for row in pl.read_csv(folder / "attribute_names.csv", infer_schema=False).iter_rows()}
    attributes = json.loads((folder / "item2attributes.json").read_text())
    items = sorted(attributes)
    chosen = np.random.default_rng(seed).choice(len(items), len(items) // 10, replace=False)
    cold = {items[row] for row in chosen}
    rows: Rows = []
    for user, *history in sequences:
        *training, validation, test = history
        rows += [(user, item, place) for place, item in enumerate(training) if item not in cold]
        if validation not in cold:
            rows.append((user, validation, VALIDATION))
        rows.append((user, test, TEST))
    words = [[names[str(one)] for one in attributes[item] if names.get(str(one))] for item in items]
    table = pl.DataFrame({"item_id": items, "words": words, "text": [", ".join(some) for some in words]})
    return Log(_events(rows), table, cold, (VALIDATION, TEST))


def amazon_office_text(folder: Path, seed: int) -> Log:
    """Trains on the rows called valid; each row called test is a user of its own, with its history and one target."""
    table = pl.read_csv(folder / "next_item.csv.gz", infer_schema=False)
    fields = json.loads(gzip.decompress((folder / "items.json.gz").read_bytes()))
    rows: Rows = []
    for user, group in groupby(_rows(table, "valid"), key=lambda row: row[0]):
        lines = list(group)
        *training, last = [*lines[0][1], *(line[2] for line in lines)]
        rows += [(user, item, place) for place, item in enumerate(training)]
        rows.append((user, last, VALIDATION))
    known = {item for _, item, _ in rows}
    asked = set()
    for number, (user, history, target) in enumerate(_rows(table, "test")):
        name = f"{user} {number}"
        rows += [(name, item, TEST + place) for place, item in enumerate([*history, target])]
        asked.add(name)
    cold = {item for _, item, _ in rows} - known
    items = pl.DataFrame(
        {
            "item_id": list(fields),
            "title": [one["title"] for one in fields.values()],
            "description": [one["description"] for one in fields.values()],
            "brand": [one["brand"] or None for one in fields.values()],
        }
    )
    return Log(_events(rows), items, cold, (VALIDATION, TEST), asked)


def ml_100k(folder: Path, seed: int) -> Log:
    """Training ends at the instant after which the first event of a fifth of the items lies."""
    columns = {"user_id:token": "user", "item_id:token": "item", "timestamp:float": "timestamp"}
    events = pl.read_csv(folder / "ml-100k.inter", separator="\t", infer_schema=False).rename(columns)
    events = events.select("user", "item", pl.col("timestamp").cast(pl.Int64))
    items = pl.read_csv(folder / "ml-100k.item", separator="\t", infer_schema=False)
    items = items.select(
        item_id="item_id:token", title="movie_title:token_seq", genres=pl.col("class:token_seq").str.split(" ")
    )
    return _by_time(events, items)


def _by_time(events: pl.DataFrame, items: pl.DataFrame) -> Log:
    """Cut where the first event of a fifth of the items is still to come; a tenth of what follows validates."""
    first = events.group_by("item").agg(pl.col("timestamp").min()).sort("timestamp")
    cut = int(first["timestamp"][int(0.8 * first.height)])
    later = events.filter(pl.col("timestamp") >= cut)["timestamp"].sort()
    cold = set(first.filter(pl.col("timestamp") >= cut)["item"])
    return Log(events, items, cold, (cut, int(later[later.len() // 10])), by_time=True)


FILES = {"amazon-beauty": amazon_beauty, "amazon-office-text": amazon_office_text, "ml-100k": ml_100k}


def _rows(table: pl.DataFrame, part: str) -> list[tuple[str, list[str], str]]:
    """(user, history, next item) of one part, users together, in the order of the file."""
    some = table.filter(pl.col("split") == part).with_columns(
        pl.col("user_id").rank("dense").alias("place") if part == "valid" else pl.lit(0).alias("place")
    )
    some = some.sort("place", maintain_order=True)
    return [
        (row["user_id"], (row["history_item_ids"] or "").split(), row["item_id"]) for row in some.iter_rows(named=True)
    ]


def _events(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "timestamp": pl.Int64}, orient="row")
