"""Overwriting what was deleted from an SQLite file: freed places, freed pages and the write-ahead log."""

from __future__ import annotations

from pathlib import Path

import apsw

_BLOCK = 65_536
"""Bytes read or written at once; SQLite's own layer writes fewer than 128 KiB in one call."""


class _OverwritingVfs(apsw.VFS):
    """The system's files, except that what is cut off a file is overwritten with zeros first, and synced."""

    name = "onward-overwriting"

    def __init__(self) -> None:
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _OverwritingFile("", name, flags)


class _OverwritingFile(apsw.VFSFile):
    def xTruncate(self, newsize: int) -> None:
        end = self.xFileSize()
        for first in range(newsize, end, _BLOCK):
            self.xWrite(bytes(min(_BLOCK, end - first)), first)
        if end > newsize:
            self.xSync(apsw.SQLITE_SYNC_FULL)
        super().xTruncate(newsize)


def erase(writer: apsw.Connection, path: Path, text: str) -> tuple[bool, tuple[str, ...]]:
    """Overwrite the log and, where copies of a deleted text are still found, rebuild the file.

    Deleted rows were overwritten in their pages already (`secure_delete`). A page that was split or merged may keep an
    old copy of a row in its unused middle, which only a rebuilt file is free of.

    Returns:
        Whether everything was overwritten, and what was done.
    """
    details = ["deleted rows were overwritten in their pages"]
    try:
        _truncate_log(path)
        if _holds(path, text):
            writer.execute("VACUUM")
            _truncate_log(path)
            details.append("the file was rebuilt, so that no unused part of a page keeps an old copy")
        details.append("the write-ahead log was overwritten and emptied")
        done = True
    except apsw.BusyError:
        details.append("another process is using the file, so that not all was overwritten: forget once more")
        done = False
    except apsw.FullError:
        details.append("the disk is too full to rebuild the file, so that not all was overwritten: forget once more")
        done = False
    details.append("a disk that writes elsewhere (SSD, snapshots) may keep old blocks until they are reused")
    return done, tuple(details)


def _truncate_log(path: Path) -> None:
    vfs = _OverwritingVfs()
    connection = apsw.Connection(str(path), vfs=vfs.name)
    try:
        connection.set_busy_timeout(2_000)
        connection.execute("SELECT 1 FROM sqlite_schema").fetchall()  # before it has read, it knows of no log
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
        vfs.unregister()


def _holds(path: Path, text: str) -> bool:
    # through SQLite's own layer: closing a file that Python opened would drop the locks this process has on it
    file = apsw.VFSFile("", str(path), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    wanted, tail = text.encode(), b""
    try:
        end = file.xFileSize()
        for first in range(0, end, _BLOCK):
            block = tail + file.xRead(min(_BLOCK, end - first), first)
            if wanted in block:
                return True
            tail = block[-len(wanted) :]
    finally:
        file.xClose()
    return False
