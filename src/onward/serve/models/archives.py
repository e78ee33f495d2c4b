"""Unpacking a bundle that somebody sent: a `.tar`, `.tar.gz` or `.zip` (deflate) of its files, in one folder or none.

Whatever is in it, nothing is written but the files that a bundle has, below the folder given and up to the limits:
other names, links, devices, absolute paths and `..` are refused, sizes are counted while unpacking and not believed.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from onward.bundle import FILES, OPTIONAL
from onward.errors import FormatError
from onward.serve.settings import ModelsConfig

NAMES = (*FILES, "manifest.json", *OPTIONAL)
_CHUNK = 1 << 20
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError,
    ArithmeticError, LookupError, ValueError, RuntimeError,
)  # fmt: skip
"""What a damaged archive raises. Python's readers don't check all numbers and names, nor how deep headers lie within
headers, and stumble over them: the second line."""


class _Pieces:
    """A stream that is read in pieces. One that is to be larger than it should be, as a header or a table of contents
    that claims to be huge, is an error, and so is a place before the start."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(_CHUNK + 1 if size < 0 else min(size, _CHUNK + 1))
        if len(piece) > _CHUNK:
            raise FormatError("the archive has an oversized header")
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:  # a file would call it an error of writing
            raise FormatError("the archive points to a place before its start")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


class _Bounded(_Pieces):
    """One that ends in an error where it was to be larger than it should."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(stream)
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        if self._stream.tell() > self._limit:
            raise _too_large(self._limit)
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > self._limit:
            raise _too_large(self._limit)
        return super().seek(offset, whence)


def unpack(archive: IO[bytes], folder: Path, limits: ModelsConfig) -> None:
    """Unpack an archive into an empty folder.

    Args:
        archive: seekable.

    Raises FormatError that says what is wrong with the archive.
    """
    size = archive.seek(0, 2)
    archive.seek(0)
    if size > limits.archive_bytes:
        raise FormatError(f"the archive has {size:,} bytes, more than {limits.archive_bytes:,}", "see [models]")
    start = archive.read(4)
    archive.seek(0)
    opened = _zip_members(archive) if start[:2] == b"PK" else _tar_members(archive, start, limits)
    left, seen = limits.unpacked_bytes, set[str]()
    try:
        for path, content in opened:
            name = _name(path)
            if name in seen:
                raise FormatError(f"the archive holds '{name}' twice")
            seen.add(name)
            left -= _write(content, folder / name, left, limits)
    except _BROKEN as error:
        raise FormatError(f"the archive can't be read: {error}", "send a .tar.gz or a .zip of a bundle") from None
    missing = sorted({*FILES, "manifest.json"} - seen)
    if missing:
        raise FormatError(
            f"the archive holds no {', '.join(missing)}", "make a bundle with: onward export RUN -o MODEL"
        )


def _write(content: IO[bytes], file: Path, left: int, limits: ModelsConfig) -> int:
    written = 0
    with content, file.open("xb") as out:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > left:
                raise _too_large(limits.unpacked_bytes)
            out.write(chunk)
    return written


def _name(path: str) -> str:
    """The name of a bundle's file that a path in an archive stands for."""
    parts = PurePosixPath(path).parts
    if "\\" in path or path.startswith("/") or ".." in parts or not 1 <= len(parts) <= 2 or parts[-1] not in NAMES:
        raise FormatError(f"the archive holds {path[:100]!r}, which no bundle has", f"it has {', '.join(NAMES)}")
    return parts[-1]


def _tar_members(archive: IO[bytes], start: bytes, limits: ModelsConfig) -> Iterator[tuple[str, IO[bytes]]]:
    stream = gzip.GzipFile(fileobj=archive, mode="rb") if start[:2] == b"\x1f\x8b" else archive
    # beside the files a tar file holds a header and padding for each, and padding at its end
    bounded = _Bounded(stream, limits.unpacked_bytes + limits.files * 2_048 + _CHUNK)  # type: ignore[arg-type]
    with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
        for number, member in enumerate(tar):
            if number == limits.files:
                raise FormatError(f"the archive holds more than {limits.files} files")
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise FormatError(f"the archive holds {member.name[:100]!r}, which is no plain file")
            yield member.name, content


def _zip_members(archive: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(_Pieces(archive)) as opened:
        for member in opened.infolist():
            mode, name = member.external_attr >> 16, member.filename[:100]
            if member.is_dir():
                continue
            if (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)) or member.flag_bits & 1:
                raise FormatError(f"the archive holds {name!r}, which is no plain file")
            if member.compress_type not in _PACKED:
                raise FormatError(f"the archive holds {name!r}, packed by another method than deflate", "pack it again")
            yield member.filename, opened.open(member)


def _too_large(limit: int) -> FormatError:
    return FormatError(f"the archive holds more than {limit:,} bytes", "see [models] in the settings")
