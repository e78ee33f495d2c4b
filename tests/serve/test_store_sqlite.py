"""The SQLite store by itself: syncs, damage, full disks, locks, overwriting, backups, an old library."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from onward.errors import ConfigError, FormatError, OutputError, StoreError
from onward.serve.settings import ImpressionsConfig
from onward.serve.store import sqlite
from onward.serve.store.clock import Clock
from onward.serve.store.protocol import FUTURE_LIMIT, Event, Impression, open_store
from onward.serve.store.sql import SqlStore
from onward.serve.store.sqlite import SqliteDatabase, refuse_old_library
from small_disks import with_own_mounts


def events(count: int, user: str = "ann", first: int = 0) -> list[Event]:
    return [Event(f"{user}-{number}", user, f"item-{number % 50}", number) for number in range(first, first + count)]


def files(folder: Path) -> bytes:
    """Everything in a folder's files, as another process reads it."""
    done = subprocess.run(["cat", *map(str, sorted(folder.iterdir()))], capture_output=True, check=True)
    return done.stdout


# Durability


class Recorder(apsw.VFS):
    """Notes when the write-ahead log is written and synced."""

    def __init__(self, trace: list[str]) -> None:
        super().__init__("recorder", "")
        self.trace = trace

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return RecordedFile(name, flags, self.trace)


class RecordedFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], trace: list[str]) -> None:
        self.trace = trace if flags[0] & apsw.SQLITE_OPEN_WAL else None
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self.trace is not None:
            self.trace.append("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self.trace is not None:
            self.trace.append("sync")


def test_every_answer_comes_after_a_sync_of_all_that_was_written(tmp_path: Path) -> None:
    trace: list[str] = []
    recorder = Recorder(trace)
    database = SqliteDatabase(tmp_path / "store.db", vfs="recorder")
    store = SqlStore(database, "store.db", ImpressionsConfig())
    for number in range(20):
        trace.clear()
        told = threading.Event()
        store.append_soon(events(3, first=number * 3), lambda _, told=told: (trace.append("answer"), told.set()))
        assert told.wait(20)
        answered = trace.index("answer")
        assert "write" in trace[:answered]
        assert trace[answered - 1] == "sync", trace
    store.close()
    recorder.unregister()


ANSWERS_ON_STANDARD_OUTPUT = """
import os, sys
from onward.serve.store.protocol import Event, open_store
store = open_store(sys.argv[1])
for number in range(5):
    store.append([Event(f"e{number}", "ann", "tea", 1)])
    os.write(1, b"acknowledged\\n")
store.close()
"""


def test_the_system_is_told_to_sync_before_every_answer(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    watched = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=write,pwrite64,fsync,fdatasync", sys.executable]
    try:
        done = subprocess.run(
            [*watched, "-c", ANSWERS_ON_STANDARD_OUTPUT, str(tmp_path / "store.db")], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no strace here")
    if b"ptrace" in done.stderr and b"not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "store.db-wal" in line or "acknowledged" in line]
    answers = [place for place, line in enumerate(calls) if "acknowledged" in line]
    assert len(answers) == 5
    for place in answers:
        assert "sync(" in calls[place - 1], calls[place - 3 : place + 1]
        assert "pwrite64(" in calls[place - 2]


# A clock that is set


def test_a_clock_set_back_a_little_does_not_reorder_a_history(tmp_path: Path) -> None:
    at = 10_000_000_000
    store = SqlStore(SqliteDatabase(tmp_path / "store.db"), "", ImpressionsConfig(), clock=Clock(lambda: at))
    for number, step in enumerate((0, -60_000_000, 0, 2 * FUTURE_LIMIT, -FUTURE_LIMIT // 2)):
        at += step
        assert store.append([Event(f"e{number}", "ann", f"item-{number}", None)])[0].status == "stored"
    assert store.history("ann", 10).seqs.tolist() == [1, 2, 3, 4, 5]
    at -= 10 * FUTURE_LIMIT  # plainly wrong before: believed
    store.append([Event("e9", "ann", "tea", None)])
    assert store.history("ann", 10).seqs.tolist() == [6, 1, 2, 3, 4, 5]
    assert len(store.since(0, 100)[0]) == 6
    store.close()


# Damage


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"user,item\n" * 1_000)
    with pytest.raises(FormatError, match="is not an SQLite database") as refused:
        open_store(file)
    assert "backup" in refused.value.hint
    assert file.read_bytes() == b"user,item\n" * 1_000


@pytest.mark.parametrize("damage", ["header", "middle", "cut"])
def test_a_corrupt_file_is_refused_with_advice(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "store.db"
    store = open_store(file)
    store.append(events(3_000))
    store.close()
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        first = 0 if damage == "header" else len(content) // 4096 // 2 * 4096
        content[first : first + 3 * 4096] = b"\xa5" * (3 * 4096)
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"corrupt|not an SQLite database") as refused:
        open_store(file)
    assert "put back the newest backup" in refused.value.hint


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't open the store"):
        open_store(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't make a store"):
        open_store(tmp_path / "file/store.db")


def test_an_old_library_is_refused() -> None:
    for version in ("3.51.2", "3.44.0", "3.7.17"):
        with pytest.raises(ConfigError, match=f"SQLite library is {version}"):
            refuse_old_library(version)
    for version in ("3.51.3", "3.52.0", "4.0.0"):
        refuse_old_library(version)


# Locks and the log


def test_a_lock_that_is_not_given_back_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 50)
    store = open_store(tmp_path / "store.db")
    other = apsw.Connection(str(tmp_path / "store.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        store.append(events(1))
    other.execute("ROLLBACK")
    other.close()
    assert store.append(events(1))[0].status == "stored"
    store.close()


def test_the_log_stays_bounded(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    for first in range(0, 40_000, 500):
        store.append(events(500, first=first))
    log = store.stats().log_bytes
    store.close()
    assert log is not None
    assert log < 30_000_000
    assert not (tmp_path / "store.db-wal").exists()


def test_a_long_read_holds_up_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_MS", 3_600_000)  # whoever waited for the reader would wait for ever
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(sqlite, "LOG_PAGES", 100)
    monkeypatch.setattr(sqlite, "READERS_MS", 5)
    store = open_store(tmp_path / "store.db")
    reader = apsw.Connection(str(tmp_path / "store.db"))
    reader.execute("BEGIN; SELECT count(*) FROM events").fetchall()
    for first in range(0, 2_000, 100):
        store.append(events(100, first=first))
    grown = store.stats().log_bytes
    reader.close()
    for first in range(2_000, 6_000, 100):
        store.append(events(100, first=first))
    end = store.stats().log_bytes
    assert grown is not None
    assert end is not None
    assert end < 1.5 * grown, "the log began again once nobody read the old one"
    store.close()


# Forgetting, to the bytes


def test_a_forgotten_user_is_in_no_byte_of_the_files(tmp_path: Path) -> None:
    secret = "marguerite.duras@example.org"
    store = open_store(tmp_path / "store.db")
    for first in range(0, 3_000, 100):  # pages are split and merged meanwhile
        store.append(events(100, f"user-{first}"))
        store.append([Event(f"{secret}/{first + number}", secret, "tea", first + number) for number in range(20)])
        store.log_impressions([Impression(f"r{first}", secret, ("tea",), "top", None, "m", first)], durable=True)
    store.record_shown("r0", secret, ["tea"])
    store.retain(days=None, events_a_user=50)
    assert secret.encode() in files(tmp_path)
    receipt = store.forget(secret)
    assert receipt.overwritten
    assert secret.encode() not in files(tmp_path)
    assert len(store.history("user-0", 100)) == 50
    store.close()
    assert secret.encode() not in files(tmp_path)


def test_a_log_that_is_being_read_is_named_in_the_receipt(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    store.append(events(10))
    reader = apsw.Connection(str(tmp_path / "store.db"))
    reader.execute("BEGIN; SELECT count(*) FROM events").fetchall()
    receipt = store.forget("ann")
    assert not receipt.overwritten
    assert any("not all was overwritten" in line for line in receipt.details)
    reader.close()
    assert store.forget("ann").overwritten
    store.close()


# Backups


def test_a_backup_made_while_events_are_written_is_a_sound_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    store.append(events(5_000))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            store.append(events(10, "bob", number))
            number += 10

    writer = threading.Thread(target=write)
    writer.start()
    try:
        store.backup(tmp_path / "copy.db")
    finally:
        stop.set()
        writer.join()
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    copy = open_store(tmp_path / "copy.db", create=False)
    assert len(copy.history("ann", 10_000)) == 5_000
    held = len(copy.history("bob", 1_000_000))
    assert held % 10 == 0
    assert copy.append(events(1))[0].status == "duplicate"
    copy.close()
    with pytest.raises(OutputError, match="already exists"):
        store.backup(tmp_path / "copy.db")
    receipt = store.forget("ann")
    assert [(one.kind, one.path) for one in receipt.copies] == [("backup", str(tmp_path / "copy.db"))]
    store.close()


def test_a_backup_of_a_damaged_store_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    store.append(events(3_000))
    store.forget("nobody")  # empties the log
    file = str(tmp_path / "store.db")
    damage = f"f = open({file!r}, 'r+b'); f.seek(20 * 4096); f.write(b'x' * 20 * 4096)"
    subprocess.run([sys.executable, "-c", damage], check=True)
    with pytest.raises((FormatError, StoreError), match="corrupt"):
        store.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    store.close()


# A full disk

ON_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
from onward.errors import StoreError
from onward.serve.store.protocol import Event, open_store
store = open_store(folder / "store.db")
ballast = folder / "ballast"
ballast.write_bytes(bytes(1_000_000))
acknowledged, number, failed = [], 0, 0
while failed < 3:
    ids = [f"e{number}-{part}" for part in range(20)]
    number += 1
    try:
        store.append([Event(name, "ann", "tea" * 50, None) for name in ids])
        acknowledged += ids
    except StoreError as error:
        failed += 1
        print(error.message)
held = len(store.history("ann", 1_000_000))
assert held == len(acknowledged) > 0, (held, len(acknowledged))
ballast.unlink()
outcomes = store.append([Event("after", "ann", "tea", None)])
assert outcomes[0].status == "stored", outcomes
again = store.append([Event(name, "ann", "tea" * 50, None) for name in acknowledged])
assert {outcome.status for outcome in again} == {"duplicate"}
store.close()
store = open_store(folder / "store.db", create=False)
assert len(store.history("ann", 1_000_000)) == len(acknowledged) + 1
store.close()
print("sound")
"""


@pytest.mark.usefixtures("small_disks")
def test_a_full_disk_refuses_and_goes_on_once_there_is_space(tmp_path: Path) -> None:
    *refused, last = with_own_mounts(ON_A_SMALL_DISK, str(tmp_path))
    assert last == "sound"
    assert all("disk is full" in line for line in refused)
