"""Folders and archives in their publisher's layout: which file is the log, which the items, which the users."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from onward.errors import DataError

# Patterns of (log, items, users), first match wins: MovieLens, newer MovieLens, the Complete Journey, RecBole.
LAYOUTS = (
    ("ratings.dat", "movies.dat", "users.dat"),
    ("ratings.csv", "movies.csv", ""),
    ("u.data", "", ""),
    ("transactions.parquet", "products.parquet", "demographics.parquet"),
    ("*.inter", "*.item", "*.user"),
)
READABLE = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".pq", ".jsonl", ".ndjson", ".arrow", ".feather", ".gz")


@dataclass(frozen=True)
class Found:
    """The files of a folder."""

    events: list[Path]
    items: list[Path]
    users: list[Path]


def expand(path: Path, work: Path) -> Found:
    """A file is itself; a folder or a `.zip` is looked through.

    Args:
        work: where an archive is unpacked.

    Raises:
        DataError: no such path, a damaged archive, or a folder of several files in no known layout.
    """
    if path.is_dir():
        return _layout(path, path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return _layout(_unpack(path, work), path)
    return Found([path], [], [])


def _unpack(path: Path, work: Path) -> Path:
    target = work / f"unpacked-{path.stem}"
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} is not a sound zip archive: {error}", "fetch it again") from None
    return target


def _layout(folder: Path, shown: Path) -> Found:
    for candidate in (folder, *sorted(part for part in folder.iterdir() if part.is_dir())):
        for log, items, users in LAYOUTS:
            events = _match(candidate, log)
            if events:
                return Found(events, _match(candidate, items), _match(candidate, users))
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() in READABLE)
    if len(files) == 1 or (files and all(file.suffix == ".parquet" for file in files)):
        return Found(files, [], [])  # the parts of one table
    names = ", ".join(file.name for file in files[:8]) or "no table"
    known = "; ".join(log for log, _, _ in LAYOUTS)
    raise DataError(f"{shown} is in no known layout: it holds {names}", f"name the log's file (known logs: {known})")


def _match(folder: Path, pattern: str) -> list[Path]:
    if not pattern:
        return []
    return sorted(file for file in folder.glob(pattern) if file.is_file()) or sorted(folder.glob(pattern + ".gz"))
