"""`prepare`: event tables in, a dataset folder out (see dataset.py), without ever holding the whole log.

Three passes: ingest.py reads the tables into flat columns of codes, order.py sorts bucket after bucket of users
into the final arrays, facts.py looks at those once. Here they are put together, and the folder is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from onward.config import dump_toml
from onward.data.arrange import Duplicates, Groups
from onward.data.dataset import SEGMENT, Dataset, Manifest
from onward.data.decisions import comma_sentences, feature_sentences, sentences
from onward.data.facts import Facts, find_facts
from onward.data.features.choose import Features, choose_features
from onward.data.features.declared import FeatureFile, read_declared
from onward.data.features.item_vectors import VectorFile, parse_vector_file, read_item_vectors
from onward.data.features.links import Links, read_links
from onward.data.ingest import Progress, Scan, check_rejected, rejected_frame, scan
from onward.data.layouts import expand
from onward.data.order import Ordered, Rules, order_events
from onward.data.readers import Source, Table, open_source
from onward.data.schema import NONE, find_roles
from onward.data.tables import Tables, join_table
from onward.data.write import write_tables
from onward.errors import ConfigError, DataError
from onward.files import atomic_folder, check_target
from onward.payload import Payload

SEEN_LIMIT = 0.01
"""Above this share of repeats among the training events, items of the history may be recommended again."""


class Prepared(Payload):
    """What `onward prepare --json` prints."""

    format: Literal["onward.prepare/1"] = "onward.prepare/1"
    """Format and version."""
    path: str
    """The dataset folder."""
    seconds: float
    """Time that it took."""
    manifest: Manifest
    """Its dataset.toml."""


def prepare(
    inputs: Table | Sequence[Table],
    out: str | Path,
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    action: str | None = None,
    value: str | None = None,
    group: str | None = None,
    group_ties: bool = False,
    items: Table | Sequence[Table] | None = None,
    users: Table | Sequence[Table] | None = None,
    features: str | Path | None = None,
    item_vectors: Sequence[str] = (),
    links: Table | Sequence[Table] | None = None,
    query: str | None = None,
    time_unit: str | None = None,
    duplicates: Duplicates = "keep",
    min_user_events: int = 1,
    min_item_events: int = 1,
    min_length: int = 1,
    allow_rejected: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Turn event tables into a dataset folder. The same input gives the same content hash.

    Args:
        inputs: paths (files, folders or archives in their publisher's layout), `sqlite:///` addresses, polars or
            pandas frames; several are read one after another.
        out: the new folder.
        user, item, time, action, value, group: columns; looked for among the usual names when None, and left out
            when "none" (the last four). The events of one user and one value of `group`, a basket, form a group.
        group_ties: the events of one user at one time form a group.
        items, users: tables of features, joined by id.
        features: a features.toml, which says kinds of columns and what is known at the request; "none" keeps no
            further column of the log. Columns it doesn't name, or all without it, are inferred.
        item_vectors: `NAME=FILE.npy` or `NAME=FILE.npy:IDS`, vectors of items (rows as in the one item table, or as in
            IDS, a text file of item ids).
        links: tables of a user, a friend and, where there is one, a weight.
        query: SQL, where the input is a SQLite file.
        time_unit: s, ms, us, ns, min, h or d, of epoch numbers; found by their size when None.
        duplicates: what becomes of rows with the same user, item, time, action and group: keep, first, last, error.
        min_user_events, min_item_events: k-core, iterated; they look at the future.
        min_length: users with fewer events than this, after the k-core, are left out.
        allow_rejected: go on when more than 1% of the rows can't be used.
        overwrite: replace an existing dataset folder.
        progress: called with (what, done, in all or None).

    Raises:
        DataError: the input can't be read or used; names the table, the column and rows.
        ConfigError: options that don't go together, or a features.toml that doesn't fit the columns.
        OutputError: the folder exists or can't be written.
    """
    filters = {"min_user_events": min_user_events, "min_item_events": min_item_events, "min_length": min_length}
    given = {"user": user, "item": item, "time": time, "action": action, "value": value, "group": group}
    if group_ties:
        if group not in (None, NONE):
            raise ConfigError("groups are by basket or by equal times, not both", "leave out --group or --group-ties")
        given["group"] = NONE
    check_target(out, overwrite)
    report = progress or (lambda what, done, total: None)
    said, file = read_declared(features)
    vector_files = [parse_vector_file(text) for text in item_vectors]
    with atomic_folder(out, overwrite) as made, TemporaryDirectory(dir=made) as scratch:
        work = Path(scratch)
        sources, item_tables, user_tables = _open(inputs, items, users, query, work)
        roles = find_roles(sources[0].columns, given, sources[0].name)
        rules = _rules(roles, group_ties, duplicates, filters)
        report("looking at the columns", 0, None)
        chosen = Features() if features == NONE else choose_features(sources, roles, said.events, file, work)
        scanned = scan(sources, roles, chosen, time_unit, work / "scan", report)
        check_rejected(scanned, allow_rejected)
        if scanned.times is not None:
            _ = scanned.times.unit  # mixed units are an error before the sorting
        ordered = order_events(scanned, rules, made / SEGMENT / "events", work, report)
        report("joining tables", 0, None)
        tables = _join(ordered, roles, item_tables, user_tables, vector_files, said, file)
        linked = _links(links, roles["user"], ordered, scanned, allow_rejected)
        report("checking", 0, None)
        facts = find_facts(ordered.columns, ordered.offsets, len(ordered.items))
        seen = "include" if facts.repeat_share > SEEN_LIMIT else "exclude"
        notes = sentences(roles, given, scanned, ordered, rules, facts, seen)
        notes += comma_sentences([*sources, *item_tables, *user_tables])
        notes += feature_sentences(chosen, tables.items, tables.users) + linked.notes
        values = _about(scanned, ordered, rules, facts, tables)
        values |= {"sources": [source.name for source in sources], "roles": roles, "seen": seen, "decisions": notes}
        values |= {"event_features": chosen.kinds, "known_at_request": list(chosen.known)}
        values |= write_tables(made, rejected_frame(scanned), ordered, tables, linked)
        manifest = Manifest.parse(values)
        (made / "dataset.toml").write_text(dump_toml(manifest), encoding="utf-8")
    return Dataset(Path(out), manifest)


def _join(
    ordered: Ordered,
    roles: Mapping[str, str],
    item_tables: Sequence[Source],
    user_tables: Sequence[Source],
    vector_files: Sequence[VectorFile],
    said: FeatureFile,
    file: str,
) -> Tables:
    items = join_table(item_tables, "item", ordered.items, roles["item"], said.items, file)
    users = join_table(user_tables, "user", ordered.users, roles["user"], said.users, file)
    columns, notes = read_item_vectors(vector_files, item_tables, roles["item"], ordered.items)
    return Tables(items.with_vectors(columns, notes), users)


def _links(
    links: Table | Sequence[Table] | None, user: str, ordered: Ordered, scanned: Scan, allow_rejected: bool
) -> Links:
    sources = [open_source(table, "links", number=number) for number, table in enumerate(_listed(links), start=1)]
    every = scanned.ids["user"].ranked()[0] if sources else ordered.users
    return read_links(sources, user, ordered.users, every, allow_rejected)


def _open(
    inputs: Table | Sequence[Table],
    items: Table | Sequence[Table] | None,
    users: Table | Sequence[Table] | None,
    query: str | None,
    work: Path,
) -> tuple[list[Source], list[Source], list[Source]]:
    """All tables: the log's, and of items and users those given, or else those of the log's folder or archive."""
    events: list[Table] = []
    found_items: list[Table] = []
    found_users: list[Table] = []
    for table in _listed(inputs):
        if isinstance(table, str | Path) and not str(table).startswith("sqlite:"):
            found = expand(Path(table), work)
            events += found.events
            found_items += found.items
            found_users += found.users
        else:
            events.append(table)
    if not events:
        raise DataError("no input table", "give a file, a folder or a frame")
    return (
        [open_source(table, "events", query, number) for number, table in enumerate(events, start=1)],
        [open_source(table, "items") for table in _listed(items) or found_items],
        [open_source(table, "users") for table in _listed(users) or found_users],
    )


def _listed(tables: Table | Sequence[Table] | None) -> list[Table]:
    if tables is None:
        return []
    return list(tables) if isinstance(tables, list | tuple) else [tables]


def _rules(roles: Mapping[str, str], group_ties: bool, duplicates: Duplicates, filters: Mapping[str, int]) -> Rules:
    for name, number in filters.items():
        if number < 1:
            raise ConfigError(f"{name} = {number} must be 1 (no filter) or more")
    if duplicates not in ("keep", "first", "last", "error"):
        raise ConfigError(f"unknown duplicates policy '{duplicates}'; known: keep, first, last, error")
    if "time" not in roles and group_ties:
        raise ConfigError("groups of equal times need times", "name the time column: --time COLUMN")
    if "time" not in roles and duplicates != "keep":
        raise ConfigError(
            f"without times a duplicate can't be told from a second event, so '{duplicates}' has no meaning",
            "name the time column with --time COLUMN, or leave --duplicates out",
        )
    groups: Groups = "basket" if "group" in roles else "ties" if group_ties else "none"
    return Rules(duplicates, groups, {name: number for name, number in filters.items() if number > 1})


def _about(scanned: Scan, ordered: Ordered, rules: Rules, facts: Facts, tables: Tables) -> dict[str, object]:
    return {
        "users": len(ordered.users),
        "items": len(ordered.items),
        "events": int(ordered.offsets[-1]),
        "columns": list(ordered.columns),
        "actions": ordered.actions,
        "time_unit": scanned.times.unit if scanned.times is not None else None,
        "time_min": facts.time_min,
        "time_max": facts.time_max,
        "time_sorted": None if ordered.unsorted_rows is None else not ordered.unsorted_rows,
        "unsorted_rows": ordered.unsorted_rows,
        "tie_share": facts.tie_share,
        "repeat_share": facts.repeat_share,
        "duplicates": rules.duplicates,
        "duplicate_rows": ordered.duplicate_rows,
        "filters": rules.filters,
        "item_features": tables.items.kinds,
        "user_features": tables.users.kinds,
    }
