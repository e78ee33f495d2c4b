"""A backup of a store in PostgreSQL, by its own tools: `pg_dump` writes it, `pg_restore` reads the whole of it back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from onward.errors import ConfigError, StoreError
from onward.files import atomic_file

_TOOLS = ("pg_dump", "pg_restore")


def dump(url: str, path: Path) -> None:
    """Write the store's schema as of one moment to a new file, while it is in use, and read that back.

    `pg_restore --no-owner --dbname=... FILE` puts it into a database without a schema `onward`.

    Raises:
        ConfigError: the tools aren't on the PATH.
        OutputError: the path is taken or can't be written.
        StoreError: a tool failed; says what it said.
    """
    if not all(map(shutil.which, _TOOLS)):
        raise ConfigError(
            "a store in PostgreSQL is backed up with PostgreSQL's own pg_dump and pg_restore, which aren't here",
            "install the client of the server's version (Debian: apt-get install postgresql-client)",
        )
    with atomic_file(path) as new:
        _run(url, "pg_dump", "--schema=onward", "--format=custom", "--no-password", f"--file={new}")
        _run(url, "pg_restore", f"--file={os.devnull}", str(new))


def _run(url: str, *words: str) -> None:
    # the URL may hold a password, and everybody can read a command line
    done = subprocess.run(words, env=os.environ | _environment(url), capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise StoreError(f"the backup failed: {said[-1]}", "nothing was written; the store is as it was")


def _environment(url: str) -> dict[str, str]:
    """A URL as the variables that PostgreSQL's tools read."""
    from psycopg import pq
    from psycopg.conninfo import conninfo_to_dict

    names = {one.keyword.decode(): one.envvar.decode() for one in pq.Conninfo.get_defaults() if one.envvar}
    return {names[name]: str(value) for name, value in conninfo_to_dict(url).items() if name in names}
