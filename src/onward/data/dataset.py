"""The dataset folder: what `prepare` writes and everything else reads.

::

    dataset/
      dataset.toml                     the manifest: counts, policies, what was decided, hashes
      segments/000000/
        items.parquet                  `item` and feature columns; row r is item index r + 1
        users.parquet                  `user` and feature columns; row r is user r
        rejected.parquet               rows that couldn't be used: file, row, reason, value
        events/offsets.npy             (U + 1,) int64
        events/item.npy ...            one flat array a column, opened memory-mapped
        events/feature.NAME.npy        the same of a feature of the event
        features/NAME.parquet          `value`: what the codes of such a feature mean, where it is coded
        links.parquet                  user row, friend row, weight; where there are links

In file names, NAME is percent-encoded. A feature of the event is stored by its kind:

=========================  ========  =========================================================================
kind                       array     meaning
=========================  ========  =========================================================================
number                     float32   NaN where missing
time                       int64     microseconds UTC; MISSING_TIME where missing
category, categories,      int32     0 where missing; code c is row c - 1 of `Dataset.event_values(name)`
text, vector
=========================  ========  =========================================================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import ConfigDict

from onward.config import Config, read_toml
from onward.data.catalog import Catalog
from onward.data.columns import file_name
from onward.data.sequences import Histories
from onward.errors import ConfigError, FormatError, unknown

FORMAT = "onward.dataset/1"
SEGMENT = Path("segments/000000")
FEATURE = "feature."
"""What the names of event features start with among the columns of histories: `feature.price`."""
CODED = ("category", "categories", "text", "vector")
"""Kinds of event features that are stored as codes into a table of their different values."""
MISSING_TIME = int(np.iinfo(np.int64).min)
"""An event feature of kind `time` without a value."""


class Manifest(Config):
    """`dataset.toml`: what the folder holds and how it was made."""

    # within a format version fields are only added, so a reader passes over those it doesn't know yet
    model_config = ConfigDict(extra="ignore")

    format: str = FORMAT
    """Format and version of the folder."""
    hash: str
    """SHA-256 over the event arrays, the ids and the features: the same input gives the same hash."""
    users: int
    """Users."""
    items: int
    """Items."""
    events: int
    """Events."""
    rejected: int
    """Rows that couldn't be used; they are in rejected.parquet."""
    sources: list[str]
    """Names of the input files, without their folders."""
    roles: dict[str, str]
    """Role -> input column: user, item, time, action, value, group..."""
    columns: list[str]
    """Event columns stored, beside offsets."""
    actions: list[str] = []
    """Names of the action codes 0, 1, 2..."""
    time_unit: str | None = None
    """Unit of the input's epoch numbers, found or given; "date" for dates and ISO texts; None without times."""
    time_min: int | None = None
    """Earliest event, microseconds UTC."""
    time_max: int | None = None
    """Latest event, microseconds UTC."""
    time_sorted: bool | None = None
    """Whether every user's rows came in time order; None without times."""
    unsorted_rows: int | None = None
    """Rows that came right after a later one of the same user; None without times."""
    tie_share: float | None = None
    """Share of the events that have the time of another event of the same user."""
    repeat_share: float
    """Share of the training events whose user had that item before."""
    seen: Literal["exclude", "include"]
    """Whether items of the history may be recommended again."""
    duplicates: Literal["keep", "first", "last", "error"]
    """What was done with rows of the same user, item and time (and action)."""
    duplicate_rows: int
    """Such rows found beyond the first of each."""
    filters: dict[str, int] = {}
    """Filters applied: min_user_events, min_item_events (k-core), min_length."""
    item_features: dict[str, str] = {}
    """Feature column of items.parquet -> number, text, category, categories, time or vector."""
    user_features: dict[str, str] = {}
    """The same of users.parquet."""
    event_features: dict[str, str] = {}
    """Feature of the event -> kind; its array is the column `feature.NAME`."""
    known_at_request: list[str] = []
    """Event features known when a recommendation is asked for, so of the event to predict too: device, place..."""
    links: int = 0
    """Rows of links.parquet."""
    decisions: list[str] = []
    """What was found or decided while preparing, in sentences for people."""
    files: dict[str, str]
    """File -> SHA-256."""


@dataclass(frozen=True)
class Dataset:
    """A prepared data set, its arrays memory-mapped."""

    path: Path
    manifest: Manifest

    @property
    def segment(self) -> Path:
        """Folder of the one segment."""
        return self.path / SEGMENT

    @cached_property
    def histories(self) -> Histories:
        """All users' histories; row u is user u."""
        events = self.segment / "events"
        names = self.manifest.columns
        columns = {name: np.load(events / f"{file_name(name)}.npy", mmap_mode="r") for name in names}
        offsets = np.load(events / "offsets.npy")
        return Histories(columns, offsets[:-1], offsets[1:], self.manifest.items)

    @cached_property
    def catalog(self) -> Catalog:
        """The items."""
        return Catalog(pl.read_parquet(self.segment / "items.parquet"))

    @cached_property
    def users(self) -> pl.DataFrame:
        """Column `user` and features; row u is user u."""
        return pl.read_parquet(self.segment / "users.parquet")

    def event_values(self, name: str) -> pl.Series:
        """The different values of a coded event feature; code c of its array is row c - 1, and 0 is missing.

        String (category, text) or List(String) (categories) in byte order; List(Float32), all of one width, for
        vectors, by first use.

        Raises:
            ConfigError: no such event feature, or one that isn't coded (number, time).
        """
        kind = self.manifest.event_features.get(name)
        if kind not in CODED:
            coded = [one for one, its in self.manifest.event_features.items() if its in CODED]
            raise ConfigError(unknown("coded event feature", name, coded))
        return pl.read_parquet(self.segment / "features" / f"{file_name(name)}.parquet")["value"]

    @cached_property
    def links(self) -> pl.DataFrame | None:
        """Who is linked to whom: `user` and `friend` (Int32 rows of `users`), `weight` (Float32, above 0).

        Sorted by user, then friend; each pair once, as given: a link and its way back are two rows. None without links.
        """
        return pl.read_parquet(self.segment / "links.parquet") if self.manifest.links else None


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset folder and verify every file's hash.

    Raises:
        FormatError: no dataset there, a newer format, a missing or changed file; names the file.
    """
    folder = Path(path)
    if not (folder / "dataset.toml").is_file():
        raise FormatError(f"{folder} is not a dataset folder: it has no dataset.toml", "make one with: onward prepare")
    values = read_toml(folder / "dataset.toml")
    check_format(folder, values.get("format"), FORMAT)
    manifest = Manifest.parse(values, str(folder / "dataset.toml"))
    check_files(folder, manifest.files, "prepare it again from the source: onward prepare ... --overwrite")
    return Dataset(folder, manifest)


def check_format(folder: Path, found: object, expected: str) -> None:
    """Raise FormatError unless a folder's format is the one this version reads."""
    if found == expected:
        return
    kind, _, version = expected.rpartition("/")
    found_kind, _, found_version = str(found).rpartition("/")
    if found_kind == kind and found_version.isdigit() and int(found_version) > int(version):
        raise FormatError(f"{folder} has format {found}, newer than {expected}", "upgrade: pip install -U onward")
    raise FormatError(f"{folder} has format {found!r}, and this version of onward reads {expected!r}")


def check_files(folder: Path, files: dict[str, str], hint: str) -> None:
    """Raise FormatError for the first file of a manifest that is missing or has changed."""
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise FormatError(f"{folder} is incomplete: {name} is missing", hint)
        if sha256(file) != expected:
            raise FormatError(f"{folder} is damaged: {name} does not match its recorded hash", hint)


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
