"""Writing that is never found half done: beside the target under a hidden name, flushed, then renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onward.errors import OutputError

OURS = (
    "dataset.toml",
    "config.toml",
    "search.toml",
    "prequential.toml",
    "manifest.json",
    "metrics.json",
    "source.json",
    "facts.json",
)
"""Files that mark a folder as one that onward wrote; overwriting replaces no other."""

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports a fault",
}


@contextmanager
def atomic_folder(target: str | Path, overwrite: bool | None = None) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `target` when the block ends without an error, and is gone otherwise.

    Args:
        overwrite: whether the target may be there; None where nobody was asked, so that no hint speaks of it.

    Raises:
        OutputError: the target exists (without `overwrite`), isn't a folder of onward's (with it), or the
            disk is full or read-only; names the path.
    """
    path = Path(target)
    check_target(path, overwrite)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.partial-", dir=path.parent))
    try:
        with _naming(path, made):
            made.chmod(0o777 & ~_umask())
            yield made
            for folder, _, files in os.walk(made):
                for name in files:
                    _flush(Path(folder) / name)
                _flush(Path(folder))
            _replace_folder(made, path)
            _flush(path.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def atomic_file(target: str | Path, overwrite: bool | None = None) -> Iterator[Path]:
    """A temporary path (same suffix) to write to; it becomes `target` when the block ends without an error.

    Args:
        overwrite: as in `atomic_folder`.

    Raises:
        OutputError: the target exists (without `overwrite`) or is a folder, or the disk is full or read-only.
    """
    path = Path(target)
    if path.is_dir() or (path.exists() and not overwrite):
        raise _exists(path, overwrite)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{path.stem}.partial-", suffix=path.suffix, dir=path.parent)
        os.close(number)
    made = Path(name)
    try:
        with _naming(path, made):
            made.chmod(0o666 & ~_umask())
            yield made
            _flush(made)
            made.replace(path)
            _flush(path.parent)
    finally:
        made.unlink(missing_ok=True)


def check_target(target: str | Path, overwrite: bool | None = None) -> None:
    """Raise OutputError now if `atomic_folder` would refuse this target; for commands that work long before writing."""
    path = Path(target)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise _exists(path, overwrite)
    if not path.is_dir():
        raise OutputError(f"{path} is a file, not a folder", "choose another name")
    if any(path.iterdir()) and not any((path / name).is_file() for name in OURS):
        raise OutputError(
            f"{path} is not a folder that onward wrote, so it is not overwritten", "choose another name, or remove it"
        )


def _exists(path: Path, overwrite: bool | None) -> OutputError:
    kind = "folder" if path.is_dir() else "file"
    offer = "" if overwrite is None else ", or add --overwrite"
    return OutputError(f"the {kind} {path} already exists", f"choose another name{offer}")


def _replace_folder(made: Path, path: Path) -> None:
    if not os.path.lexists(path):
        made.rename(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.replaced-", dir=path.parent))
    try:
        path.rename(aside / "old")
        try:
            made.rename(path)
        except OSError:
            (aside / "old").rename(path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _naming(path: Path, made: Path | None = None) -> Iterator[None]:
    """Turn what a disk refuses into an OutputError; errors about other files (an input, say) pass."""
    try:
        yield
    except Exception as error:
        reason = _reason(error)
        if reason is None and made is None and isinstance(error, OSError):
            reason = (error.strerror or str(error)).lower()  # nothing but making the place can have failed
        if reason is None or (made is not None and _is_elsewhere(error, made, path)):
            raise
        raise OutputError(f"can't write {path}: {reason}", "free space, or choose another place") from None


def _reason(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.errno in _REASONS:
        return _REASONS[error.errno]
    if isinstance(error, OutputError):
        return None
    # polars and safetensors wrap the system's error in a text of their own; numpy counts what it could write
    text = str(error)
    for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO):
        if f"os error {number})" in text or f"code: {number}," in text or os.strerror(number) in text:
            return _REASONS[number]
    if isinstance(error, OSError) and "requested and" in text and text.endswith("written"):
        return _REASONS[errno.ENOSPC]
    return None


def _is_elsewhere(error: Exception, made: Path, path: Path) -> bool:
    name = getattr(error, "filename", None)
    if not isinstance(name, str | os.PathLike):
        return False
    file = Path(name).absolute()
    return not any(file.is_relative_to(place.absolute()) for place in (made, path))


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
