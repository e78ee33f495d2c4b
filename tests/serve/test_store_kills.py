"""Processes killed while they write: what was acknowledged is there, and a retry counts once."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forked import LONGEST, Forked
from onward.errors import StoreError
from onward.serve.store.protocol import Event, EventStore, open_store

KILLED_BEFORE_ANSWERING = """
import os, signal, sys
from onward.serve.store.protocol import Event, open_store
from onward.serve.store.writer import Writer
store = open_store(sys.argv[1])
Writer._answer = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
store.append([Event("e1", "ann", "tea", None)])
"""
WRITES_UNTIL_KILLED = """
import itertools, sys
from concurrent.futures import ThreadPoolExecutor
from onward.serve.store.protocol import Event, open_store
store = open_store(sys.argv[1])
def write(worker):
    for number in itertools.count():
        ids = [f"{sys.argv[2]}-{worker}-{number}-{part}" for part in range(3)]
        store.append([Event(name, f"user-{worker}", "tea", None) for name in ids])
        sys.stdout.write("".join(name + "\\n" for name in ids))
        sys.stdout.flush()
with ThreadPoolExecutor(3) as pool:
    list(pool.map(write, range(3)))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_url"))


def test_killed_between_commit_and_answer_a_retry_counts_once(url: str) -> None:
    code, _, _ = Forked(url, code=KILLED_BEFORE_ANSWERING).finish()
    assert code == -signal.SIGKILL
    store = open_store(url)
    assert len(store.history("ann", 10)) == 1
    assert store.append([Event("e1", "ann", "tea", None)])[0].status == "duplicate"
    assert len(store.history("ann", 10)) == 1
    store.close()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_killed_at_random_moments_nothing_acknowledged_is_lost(url: str, kills: int) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    for attempt in range(kills):
        writer = Forked(url, str(attempt), code=WRITES_UNTIL_KILLED)
        acknowledged.add(writer.stdout.readline().decode().strip())  # it is at work
        time.sleep(chance.uniform(0, 0.3))
        writer.kill()
        lines = writer.stdout.read().decode().split("\n")
        writer.finish()
        acknowledged |= set(lines[:-1])
    store = open_store(url)
    stored = every_id(store)
    assert len(stored) == len(set(stored))
    assert acknowledged <= set(stored)
    again = store.append(
        [Event(name, f"user-{name.split('-')[1]}", "tea", None) for name in sorted(acknowledged)[:500]]
    )
    assert {outcome.status for outcome in again} == {"duplicate"}
    store.close()


def test_two_processes_write_to_one_file_and_nothing_is_lost(tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    writers = [Forked(url, name, code=WRITES_UNTIL_KILLED) for name in ("a", "b")]
    acknowledged: list[str] = []
    for writer in writers:
        acknowledged += [writer.stdout.readline().decode().strip() for _ in range(300)]
    for writer in writers:
        writer.kill()
        writer.stdout.read()
        writer.finish()
    store = open_store(url)
    stored = every_id(store)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    store.close()


def test_a_killed_postgresql_fails_appends_and_is_found_again(
    postgres_url: str, postgres_server: object, capfd: pytest.CaptureFixture[str]
) -> None:
    store = open_store(postgres_url)
    assert store.append([Event("before", "ann", "tea", 1)])[0].status == "stored"
    acknowledged, failed = set[str](), list[str]()

    def write(number: int) -> None:
        try:
            store.append([Event(f"e{number}", "ann", "tea", number)])
            acknowledged.add(f"e{number}")
        except StoreError as error:
            failed.append(error.message)

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(300)]
        until(lambda: len(acknowledged) > 20)
        kill_postgres(postgres_server)
        for one in writing:
            one.result(timeout=60)
    assert failed, "it was killed while events were being written"
    assert all("PostgreSQL can't be used now" in said for said in failed)
    with pytest.raises(StoreError, match="PostgreSQL can't be used now"):
        store.history("ann", 10)
    postgres_server.ensure_postgres_running()  # type: ignore[attr-defined]
    again = store.append([Event(f"e{number}", "ann", "tea", number) for number in range(300)])
    lost = [one.id for one in again if one.id in acknowledged and one.status != "duplicate"]
    assert lost == []
    assert {one.status for one in again} <= {"stored", "duplicate"}
    assert len(store.history("ann", 1_000)) == 301
    store.close()


def kill_postgres(server: object) -> None:
    """Kill the server and every process of it, and wait until none is left."""
    import psutil

    postmaster = psutil.Process(server.get_pid())  # type: ignore[attr-defined]
    family = [postmaster, *postmaster.children(recursive=True)]
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=10)


def every_id(store: EventStore) -> list[str]:
    found: list[str] = []
    cursor = 0
    while True:
        events, cursor = store.since(cursor, 5_000)
        if not events:
            return found
        found += [event.id for event in events]


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not found():
        assert time.monotonic() < end
        time.sleep(0.001)
