"""The tables of a store, and how those of an older version are brought forward.

A version is reached by running every step from the one found; a new store runs all of them. A step is never changed
once released: a change of the tables is a new step.
"""

from __future__ import annotations

import secrets

from onward.errors import FormatError
from onward.serve.store.database import Database, Reader

FORMAT = "onward.store"

_EVENTS = (
    # seq, and the keys, are given by counters that are never set back: a number is never used twice
    """CREATE TABLE events (
        seq {key}, id TEXT NOT NULL, user_key {int} NOT NULL, item_key {int} NOT NULL, time {int} NOT NULL,
        received {int} NOT NULL, action_key {int} NOT NULL, value {real}, request_id TEXT, group_id TEXT,
        body {int} NOT NULL) {strict}""",
    "CREATE UNIQUE INDEX events_id ON events(id)",
    # covers a history read: the newest events of a user are neighbours, and nothing else is opened
    "CREATE INDEX events_history ON events(user_key, time, seq, item_key, action_key, value)",
    "CREATE INDEX events_time ON events(time, item_key)",
    "CREATE INDEX events_request ON events(request_id) WHERE request_id IS NOT NULL",
    # keyed hashes of the ids of removed events, for as long as they must stay unique; of a forgotten user's events
    # nothing else is kept, so that `body` is null
    "CREATE TABLE used_ids (hash TEXT PRIMARY KEY, body {int}, received {int} NOT NULL) {keyed}",
    "CREATE TABLE users (user_key {key}, id TEXT NOT NULL UNIQUE, forgotten {int} NOT NULL) {strict}",
    "CREATE TABLE items (item_key {key}, id TEXT NOT NULL UNIQUE) {strict}",
    "CREATE TABLE actions (action_key {key}, id TEXT NOT NULL UNIQUE) {strict}",
    "CREATE TABLE tombstones (hash TEXT PRIMARY KEY, time {int} NOT NULL) {keyed}",
    "CREATE INDEX tombstones_time ON tombstones(time)",
)
_IMPRESSIONS = (
    """CREATE TABLE impressions (
        request_id TEXT PRIMARY KEY, user_id TEXT, time {int} NOT NULL, model TEXT NOT NULL, policy TEXT NOT NULL,
        items TEXT NOT NULL, propensities TEXT) {keyed}""",
    "CREATE INDEX impressions_time ON impressions(time, model)",
    "CREATE INDEX impressions_user ON impressions(user_id)",
    "CREATE TABLE shown (request_id TEXT PRIMARY KEY, user_id TEXT, time {int} NOT NULL, items TEXT NOT NULL) {keyed}",
    "CREATE INDEX shown_user ON shown(user_id)",
    "CREATE INDEX shown_time ON shown(time)",
    # clicks that count; time and model are those of their list, so that counting them needs no other table
    """CREATE TABLE clicks (
        request_id TEXT NOT NULL, item_key {int} NOT NULL, seq {int} NOT NULL, time {int} NOT NULL, model TEXT NOT NULL,
        PRIMARY KEY (request_id, item_key)) {keyed}""",
    "CREATE INDEX clicks_seq ON clicks(seq)",
    "CREATE INDEX clicks_time ON clicks(time, model)",
)
_SERVER = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) {keyed}",
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value {int} NOT NULL) {keyed}",
    """CREATE TABLE catalog (
        id TEXT PRIMARY KEY, features TEXT NOT NULL, deleted {int} NOT NULL, version {int} NOT NULL) {keyed}""",
    "CREATE INDEX catalog_version ON catalog(version)",
    """CREATE TABLE deployment (
        one {key}, active TEXT, previous TEXT, target TEXT, generation {int} NOT NULL, reason TEXT) {strict}""",
    "INSERT INTO deployment(one, generation) VALUES (1, 0)",
    """CREATE TABLE workers (
        id TEXT PRIMARY KEY, pid {int} NOT NULL, generation {int} NOT NULL, target TEXT, state TEXT NOT NULL,
        time {int} NOT NULL) {keyed}""",
    """CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash {bytes} NOT NULL, created {int} NOT NULL,
        revoked {int}) {keyed}""",
)
STEPS: tuple[tuple[str, ...], ...] = (
    (*_EVENTS, *_IMPRESSIONS, *_SERVER),
    (
        # 2: the share of the lists that was logged, and the copies that a receipt of forgetting has to name
        "ALTER TABLE impressions ADD COLUMN sample {real} NOT NULL DEFAULT 1.0",
        "CREATE TABLE copies (path TEXT PRIMARY KEY, kind TEXT NOT NULL, time {int} NOT NULL) {keyed}",
    ),
    # 3: retention goes by when the store got an event
    ("CREATE INDEX events_received ON events(received)",),
    # 4: further features of an event, a JSON object; null without any
    ("ALTER TABLE events ADD COLUMN features TEXT",),
)
"""Statements that lead from version i to i + 1."""
VERSION = len(STEPS)


def prepare_tables(database: Database, place: str, create: bool) -> None:
    """Make the tables of a new store, or bring those of an older version forward, in one transaction.

    Raises:
        FormatError: the database is something else's, or of a newer version.
    """
    if stored_version(database, place, create) == VERSION:
        return
    with database.transaction() as transaction:
        # another process may have been faster: look again, now that nobody else can write
        found = stored_version(transaction, place, create)
        for step in STEPS[found:]:
            for statement in step:
                transaction.run(statement)
        if found == 0:
            transaction.run("INSERT INTO meta(name, value) VALUES ('format', ?)", (FORMAT,))
            transaction.run("INSERT INTO meta(name, value) VALUES ('secret', ?)", (secrets.token_hex(32),))
            transaction.run("INSERT INTO meta(name, value) VALUES ('version', ?)", (str(VERSION),))
        else:
            transaction.run("UPDATE meta SET value = ? WHERE name = 'version'", (str(VERSION),))


def stored_version(reader: Reader, place: str, create: bool) -> int:
    """The version of the tables; 0 when there is none. Raises FormatError for what this version can't use."""
    tables = {name for (name,) in reader.read("{tables}")}
    if not tables and create:
        return 0
    rows = reader.read("SELECT name, value FROM meta") if "meta" in tables else []
    meta: dict[str, str] = dict(rows)
    if meta.get("format") != FORMAT or not meta.get("version", "").isdecimal():
        raise FormatError(f"{place} is a database, but not a store of onward", "name the store's own file or database")
    version = int(meta["version"])
    if version > VERSION:
        raise FormatError(
            f"{place} was written by a newer onward: its tables are version {version}, and this one knows {VERSION}",
            "update onward: pip install --upgrade onward",
        )
    return version
