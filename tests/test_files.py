"""Folders and files that are whole or not there."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from onward.errors import OutputError
from onward.files import atomic_file, atomic_folder, check_target


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as made:
        (made / "inner").mkdir()
        (made / "inner" / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert names(tmp_path) == ["a", "a/b", "a/b/inner", "a/b/inner/file"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o700 == 0o700


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    def half_folder():
        with atomic_folder(tmp_path / "out") as made:
            (made / "file").write_text("half")
            raise error

    def half_file():
        with atomic_file(tmp_path / "out.txt") as made:
            made.write_text("half")
            raise error

    for half in (half_folder, half_file):
        with pytest.raises(type(error)):
            half()
        assert names(tmp_path) == []


def test_an_existing_folder_is_refused_or_replaced(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "out", overwrite=content == "new") as made:
            (made / "config.toml").write_text(content)
    assert (tmp_path / "out" / "config.toml").read_text() == "new"
    assert names(tmp_path) == ["out", "out/config.toml"]
    with pytest.raises(OutputError, match="already exists"), atomic_folder(tmp_path / "out"):
        pass
    (tmp_path / "out" / "config.toml").unlink()
    (tmp_path / "out" / "letters.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not a folder that onward wrote"):
        check_target(tmp_path / "out", overwrite=True)


def test_a_failed_replacement_keeps_the_old_folder(tmp_path):
    with atomic_folder(tmp_path / "out") as made:
        (made / "config.toml").write_text("old")
    with pytest.raises(ValueError, match="no"), atomic_folder(tmp_path / "out", overwrite=True):
        raise ValueError("no")
    assert (tmp_path / "out" / "config.toml").read_text() == "old"


def test_a_file_is_refused_or_replaced(tmp_path):
    for content in ("old", "new"):
        with atomic_file(tmp_path / "out.json", overwrite=content == "new") as made:
            assert made.suffix == ".json"
            made.write_text(content)
    assert (tmp_path / "out.json").read_text() == "new"
    with pytest.raises(OutputError, match="already exists"), atomic_file(tmp_path / "out.json"):
        pass
    with pytest.raises(OutputError, match="is a file, not a folder"), atomic_folder(tmp_path / "out.json" / "in"):
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied"),
        (OSError("1000 requested and 512 written"), "the disk is full"),
        (RuntimeError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'), "is full"),
    ],
)
def test_what_a_disk_refuses_names_the_target(tmp_path, error, words):
    with pytest.raises(OutputError, match=words) as raised, atomic_folder(tmp_path / "out"):
        raise error
    assert str(tmp_path / "out") in raised.value.message
    assert names(tmp_path) == []


def test_an_error_about_another_file_passes(tmp_path):
    other = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input.csv")
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "out"):
        raise other
