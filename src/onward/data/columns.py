"""Flat arrays on disk, written by appending: a full disk is an error then, never a crash as with a memory map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import DTypeLike, NDArray

Columns = dict[str, NDArray[Any]]
"""Name -> flat array, all of one length."""


def file_name(column: str) -> str:
    """A column's name as a file's: percent-encoded where it holds more than letters, digits and `_.-~`."""
    return quote(column, safe="")


class ColumnWriter:
    """Columns of one length, each growing in its own `.npy` file.

    Use as a context manager: the files are sound once it is closed.
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, DTypeLike]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.length = 0
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._files: dict[str, BinaryIO] = {name: (folder / f"{file_name(name)}.npy").open("wb") for name in dtypes}
        self._write_headers()

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows: every column, cast to its type."""
        sizes = {name: len(columns[name]) for name in self._files}
        assert len(set(sizes.values())) == 1, f"columns of different lengths: {sizes}"
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(columns[name], dtype=self._dtypes[name]).data)
        self.length += next(iter(sizes.values()))

    def close(self) -> None:
        """Write the final lengths and close."""
        self._write_headers()
        for file in self._files.values():
            file.close()

    def _write_headers(self) -> None:
        # numpy pads a header so that it keeps its size while the length grows
        for name, file in self._files.items():
            file.seek(0)
            header = {"descr": self._dtypes[name].str, "fortran_order": False, "shape": (self.length,)}
            np.lib.format.write_array_header_1_0(file, header)

    def __enter__(self) -> ColumnWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
            return
        for file in self._files.values():
            try:
                file.close()
            except OSError:  # what is still buffered doesn't fit either; the first error counts
                file.raw.close()  # type: ignore[attr-defined]


def open_columns(folder: Path) -> Columns:
    """The columns of a folder, memory-mapped, read only."""
    return {unquote(file.stem): np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}


def rows_of(columns: Mapping[str, NDArray[Any]], rows: slice) -> Columns:
    """Some rows of every column, in memory."""
    return {name: np.array(column[rows]) for name, column in columns.items()}
