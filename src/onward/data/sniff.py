"""What a text file is, from its first bytes: separator, header, and which of the field's known layouts."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from onward.data.decimals import find_commas
from onward.errors import DataError

HEAD_BYTES = 1 << 16
_TYPED = re.compile(r"^(.+):(token|token_seq|float|float_seq)$")
_NUMBER = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$")

# Columns of files without a header, by the number of fields: the order that MovieLens, Amazon and most others use.
EVENT_COLUMNS = {2: ["user", "item"], 4: ["user", "item", "rating", "timestamp"]}
ITEM_COLUMNS = {2: ["item", "title"], 3: ["item", "title", "genres"]}
LINK_COLUMNS = {2: ["user", "friend"], 3: ["user", "friend", "weight"]}
USER_COLUMNS = {5: ["user", "gender", "age", "occupation", "zip_code"]}


@dataclass(frozen=True)
class TextLayout:
    """How to cut a text file into columns.

    Attributes:
        separator: between fields: one character, "::", or " " for `user item item ...` lines.
        columns: names in order; typed headers without their types.
        has_header: whether the first line is the header.
        types: RecBole's type of each column, where the header has them.
        quoted: whether a field may stand in double quotes: always, but in tab-separated files only where all fields
            that open with a quote close with one (a dump may hold a name such as `"Weird Al" Yankovic`).
        encoding: "utf-8", or "latin-1" for `::` files that aren't UTF-8.
        commas: columns whose numbers have a decimal comma; only where `;` is the separator.
    """

    separator: str
    columns: list[str]
    has_header: bool
    types: dict[str, str]
    quoted: bool = True
    encoding: str = "utf-8"
    commas: tuple[str, ...] = ()


def text_layout(path: Path, kind: str) -> TextLayout:
    """Look at the start of a text file.

    Args:
        kind: "events", "items", "users" or "links": what columns without a header mean.

    Raises:
        DataError: the file is empty or isn't UTF-8.
    """
    head = read_head(path)
    double = b"::" in head.split(b"\n", 1)[0]
    encoding = "latin-1" if double and not is_utf8(path) else "utf-8"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 4:  # else the cut fell inside a character
            raise not_utf8(path) from None
        text = head[: error.start].decode()
    first = text.lstrip("\ufeff").split("\n", 1)[0].rstrip("\r")
    if not first.strip():
        raise DataError(f"{path} starts with an empty line", "the first line must be a header or an event")
    if double:
        return TextLayout("::", _names(len(first.split("::")), kind), False, {}, False, encoding)
    separator = next((mark for mark in ("\t", ",", ";", "|") if mark in first), None)
    if separator == "," and _parts(first, ";") > _parts(first, ","):
        separator = ";"  # its commas are those of numbers or of names
    if separator is None:
        if " " in first and kind == "events":
            return TextLayout(" ", ["user", "item"], False, {})
        separator = ","
    fields = next(csv.reader([first], delimiter=separator))
    quoted = separator != "\t" or _quotes_close(text)
    typed = [_TYPED.match(field) for field in fields]
    if all(typed):
        pairs = [(found[1], found[2]) for found in typed if found]
        return TextLayout(separator, [name for name, _ in pairs], True, dict(pairs), False)
    if any(_NUMBER.match(field) for field in fields):
        names = _names(len(fields), kind)
        return TextLayout(separator, names, False, {}, quoted, commas=_commas(text, separator, names))
    names = [field.strip() or f"column_{number}" for number, field in enumerate(fields, start=1)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns named '{twice[0]}'", "rename one of them in the header")
    rest = text.partition("\n")[2]
    return TextLayout(separator, names, True, {}, quoted, commas=_commas(rest, separator, names))


def _parts(line: str, separator: str) -> int:
    return len(next(csv.reader([line], delimiter=separator)))


def _commas(text: str, separator: str, names: list[str]) -> tuple[str, ...]:
    """Columns with decimal commas, by the lines of a file's start: the last one may be cut."""
    if separator != ";":
        return ()
    lines = text.split("\n")
    return tuple(find_commas(names, list(csv.reader(lines[:-1] or lines, delimiter=separator))))


def _quotes_close(text: str) -> bool:
    fields = [
        field for line in text.split("\n")[:-1] or [text] for field in line.rstrip("\r").split("\t") if field[:1] == '"'
    ]
    return bool(fields) and all(len(field) > 1 and field.endswith('"') for field in fields)


def _names(count: int, kind: str) -> list[str]:
    columns = {"events": EVENT_COLUMNS, "items": ITEM_COLUMNS, "users": USER_COLUMNS, "links": LINK_COLUMNS}
    known = columns[kind]
    return known.get(count) or [f"column_{number}" for number in range(1, count + 1)]


def read_head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file, decompressed where it is gzip. Raises DataError for an empty file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a sound gzip file: {str(error).lower()}", "fetch or write it again") from None
    if not head:
        raise DataError(f"{path} is empty")
    return head


def is_utf8(path: Path) -> bool:
    """Whether the whole file decodes as UTF-8."""
    return _first_bad_byte(path) is None


def not_utf8(path: Path) -> DataError:
    """The error for a file that isn't UTF-8, naming the line and the byte."""
    found = _first_bad_byte(path)
    place = "" if found is None else f": line {found[0]}, byte {found[1]:#04x}"
    return DataError(
        f"{path} is not UTF-8 text{place}",
        f"if it is Latin-1, convert it: iconv -f latin1 -t utf-8 {path.name} > events.csv",
    )


def _first_bad_byte(path: Path) -> tuple[int, int] | None:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return number, line[error.start]
    return None
