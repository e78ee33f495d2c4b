"""Tables of every usual kind, read chunk by chunk: text, Parquet, JSON lines, Arrow, frames, SQLite.

A `Source` knows its columns and gives the wanted ones in chunks, in input order, so that preparing never holds a
whole table. Text columns of text files stay text: what they mean is decided in schema.py and times.py.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import polars as pl

from onward.data.decimals import with_points
from onward.data.sniff import TextLayout, not_utf8, read_head, text_layout
from onward.errors import DataError, MissingExtraError

CHUNK_ROWS = 500_000
"""Rows held at once, about."""

Table = Any
"""A path, an `sqlite:///file.db?query=...` address, a polars frame (lazy too) or a pandas frame."""

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".ipc", ".feather")
JSON_LINES = (".jsonl", ".ndjson", ".json")
SQLITE = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class Source:
    """One table.

    Attributes:
        name: for messages and the manifest; a file's name without its folder.
        dtypes: column -> type, in order. Columns of text files are all String.
        untyped: whether values are text because the file knows no types.
        chunks: gives the wanted columns, in chunks of CHUNK_ROWS rows or fewer, in input order.
        types: RecBole's type of each column, for atomic files.
        commas: columns whose numbers had a decimal comma; `chunks` gives them with a point.
    """

    name: str
    dtypes: Mapping[str, pl.DataType]
    untyped: bool
    chunks: Callable[[Sequence[str]], Iterator[pl.DataFrame]]
    types: Mapping[str, str] = field(default_factory=dict)
    commas: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """Names in order."""
        return list(self.dtypes)

    def read(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """(number of its first row, chunk) one after another. Rows count from 1; a header is not a row.

        Raises:
            DataError: what can't be read; names the table.
        """
        row = 1
        with _readable(self.name):
            for chunk in self.chunks(columns):
                yield row, chunk
                row += chunk.height

    def table(self) -> pl.DataFrame:
        """Everything at once; for item and user tables."""
        parts = [chunk for _, chunk in self.read(self.columns)]
        empty = pl.DataFrame(schema=dict(self.dtypes))
        return pl.concat(parts, how="vertical_relaxed") if parts else empty


def open_source(table: Table, kind: str = "events", query: str | None = None, number: int = 1) -> Source:
    """Open one table.

    Args:
        kind: "events", "items", "users" or "links": what a text file's columns mean where it has no header.
        query: SQL, for a SQLite file.
        number: names a frame in messages.

    Raises:
        DataError: no such file, an empty one, or one that isn't what its name says.
    """
    if isinstance(table, pl.DataFrame | pl.LazyFrame):
        with _readable(f"frame {number}"):
            return _lazy(f"frame {number}", table.lazy())
    if not isinstance(table, str | Path):
        return _lazy(f"frame {number}", _from_pandas(table).lazy())
    if str(table).startswith("sqlite:"):
        return _sqlite_address(str(table))
    path = Path(table)
    if not path.exists():
        raise DataError(f"no such file: {path}")
    suffix = Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    with _readable(str(path)):
        if suffix in SQLITE or query is not None:
            return _sqlite(path, query)
        if suffix in PARQUET:
            read_head(path, 1)
            return _lazy(path.name, pl.scan_parquet(path, glob=False))
        if suffix in ARROW:
            read_head(path, 1)
            return _lazy(path.name, pl.scan_ipc(path))
        if suffix in JSON_LINES:
            return _json_lines(path, kind)
        return _text(path, text_layout(path, kind))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeError, sqlite3.Error, json.JSONDecodeError, EOFError) as error:
        said = str(error).strip().split("\n")[0]
        raise DataError(f"{name} can't be read: {said}", "is the file complete, and what its name says?") from None


def _batches(frame: pl.LazyFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    yield from frame.select(columns).collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True, lazy=True)


def _lazy(name: str, frame: pl.LazyFrame) -> Source:
    schema = frame.collect_schema()
    return Source(name, dict(schema), False, lambda columns: _batches(frame, columns))


def _from_pandas(table: Any) -> pl.DataFrame:
    if not hasattr(table, "to_records"):
        raise DataError(f"a table can't be a {type(table).__name__}", "give a path, a polars frame or a pandas frame")
    twice = sorted({str(name) for name in table.columns[table.columns.duplicated()]})
    if twice:
        raise DataError(f"the frame has two columns named '{twice[0]}'", "rename one of them")
    try:
        return pl.from_pandas(table)
    except ImportError:
        raise MissingExtraError("pyarrow", "pandas") from None
    except (ValueError, TypeError) as error:  # pyarrow's errors are both
        raise DataError(f"the frame can't be read: {error}", "make each column of one type: .astype(str)") from None


def _text(path: Path, layout: TextLayout) -> Source:
    dtypes: dict[str, pl.DataType] = {name: pl.String() for name in layout.columns}

    def chunks(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        try:
            yield from _lines(path, layout, columns) if layout.separator in ("::", " ") else _csv(path, layout, columns)
        except pl.exceptions.ComputeError as error:
            if "utf" in str(error).lower():
                raise not_utf8(path) from None
            raise DataError(f"{path} can't be read as text columns: {_plain(error)}", _csv_hint(layout)) from None

    return Source(path.name, dtypes, True, chunks, layout.types, layout.commas)


def _csv(path: Path, layout: TextLayout, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    frame = pl.scan_csv(
        path,
        separator=layout.separator,
        has_header=False,
        skip_rows=int(layout.has_header),  # the names are known already, without RecBole's types
        schema=dict.fromkeys(layout.columns, pl.String()),
        quote_char='"' if layout.quoted else None,
        glob=False,
    )
    yield from _batches(frame.with_columns(with_points(name) for name in layout.commas if name in columns), columns)


def _lines(path: Path, layout: TextLayout, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    source: Path | bytes = path if layout.encoding == "utf-8" else path.read_bytes().decode("latin-1").encode()
    lines = pl.scan_lines(source, name="line").select(pl.col("line").str.strip_chars("\r\n\ufeff"))
    for chunk in lines.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True, lazy=True):
        line = chunk["line"].filter(chunk["line"] != "")
        if layout.separator == " ":
            yield _sequences(line).select(columns)
        else:
            parts = line.str.split_exact("::", len(layout.columns) - 1)
            yield parts.struct.rename_fields(layout.columns).struct.unnest().select(columns)


def _sequences(line: pl.Series) -> pl.DataFrame:
    """`user item item ...` lines to one row an item."""
    words = line.str.extract_all(r"\S+")
    words = words.filter(words.list.len() > 0)
    frame = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)})
    return frame.explode("item", empty_as_null=True)


def _plain(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _csv_hint(layout: TextLayout) -> str:
    return (
        f"a row doesn't fit the {len(layout.columns)} columns separated by {layout.separator!r}: "
        "a field that holds the separator must be quoted"
    )


def _json_lines(path: Path, kind: str) -> Source:
    head = read_head(path, 1 << 20).decode("utf-8", errors="replace")
    if head.lstrip().startswith("["):
        raise DataError(f"{path} is one JSON array, not JSON lines", "write one JSON object a line")
    lines = head.split("\n")  # splitlines() would cut at other characters, which JSON leaves in its strings
    if len(head) >= 1 << 20 and len(lines) > 1:
        lines = lines[:-1]  # cut inside
    dtypes = _json_types(path, lines[:1000])
    if kind != "events":
        return _lazy(path.name, pl.scan_ndjson(path, infer_schema_length=None))

    def chunks(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        # as text, so that an integer above 2**63 or a text among numbers keeps its digits
        frame = pl.scan_ndjson(path, schema=dict.fromkeys(columns, pl.String()))
        try:
            yield from _batches(frame, columns)
        except pl.exceptions.ComputeError as error:
            if "utf" in str(error).lower():
                raise not_utf8(path) from None
            raise DataError(f"{path} is not sound JSON lines: {_plain(error)}", "each line is one object") from None

    return Source(path.name, dtypes, True, chunks)


def _json_types(path: Path, lines: Sequence[str]) -> dict[str, pl.DataType]:
    """Columns of the first lines; a column that holds a float there is Float64, so that it is refused as an id."""
    dtypes: dict[str, pl.DataType] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not sound JSON lines: line {number}: {error}") from None
        if not isinstance(record, dict):
            raise DataError(f"{path} line {number} is not a JSON object", "each line is one object")
        for name, value in record.items():
            if isinstance(value, float) or name not in dtypes:
                dtypes[name] = pl.Float64() if isinstance(value, float) else pl.String()
    return dtypes


def _sqlite_address(address: str) -> Source:
    """`sqlite:///file.db?query=SELECT ...`: three slashes for a relative path, four for an absolute one."""
    place, _, rest = address.removeprefix("sqlite:").removeprefix("//").removeprefix("/").partition("?")
    queries = parse_qs(rest).get("query")
    return _sqlite(Path(unquote(place)), queries[0] if queries else None)


def _sqlite(path: Path, query: str | None) -> Source:
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if query is None:
        raise DataError(f"{path.name} is a database, and no query was given", 'add --query "SELECT ... FROM ..."')
    query = query.strip().rstrip(";")
    try:
        with closing(_connect(path)) as connection:
            cursor = connection.execute(f"SELECT * FROM ({query}) LIMIT 0")
            dtypes: dict[str, pl.DataType] = {part[0]: pl.String() for part in cursor.description}
    except sqlite3.Error as error:
        raise DataError(f"{path.name}: the query fails: {error}", f"the query was: {query}") from None

    def chunks(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        # SQLite columns hold values of any type; as text they keep every digit
        wanted = ", ".join('CAST("{}" AS TEXT)'.format(name.replace('"', '""')) for name in columns)
        schema = dict.fromkeys(columns, pl.String())
        with closing(_connect(path)) as connection:
            cursor = connection.execute(f"SELECT {wanted} FROM ({query})")
            rows = iter(lambda: cursor.fetchmany(CHUNK_ROWS), [])
            yield from (pl.DataFrame(some, schema=schema, orient="row") for some in itertools.takewhile(bool, rows))

    return Source(path.name, dtypes, True, chunks)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
