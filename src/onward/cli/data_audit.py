"""`onward data audit`: find leaks and traps in a dataset, for one protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.data.audit import Audit

COLOURS = {"warning": "bold yellow", "note": "cyan", "ok": "green"}


def data_audit(
    dataset: Annotated[Path, Parameter(help="Dataset folder, made by `onward prepare`.")],
    /,
    *,
    protocol: Annotated[
        Literal["last", "time", "users"], Parameter(help="How training and test would be divided.")
    ] = "time",
    valid_share: Annotated[float, Parameter(help="Share that validates (`time`, `users`).")] = 0.1,
    test_share: Annotated[float, Parameter(help="Share that tests (`time`, `users`).")] = 0.1,
    seed: Annotated[int, Parameter(help="Chooses the users that are held out (`users`).")] = 0,
    as_json: Json = False,
) -> None:
    """Find leaks and traps in a dataset, for one protocol.

    Says what was counted, how bad it is, what it does to metrics and what to do about it: ties, leaks through time,
    duplicates, cold items and users, repeats, drift, filters that saw the future. Changes nothing.

    Example: onward data audit dataset/ --protocol last
    """
    from onward.config import SplitConfig
    from onward.data.audit import audit
    from onward.data.dataset import open_dataset

    values = {"protocol": protocol, "valid_share": valid_share, "test_share": test_share, "seed": seed}
    found = audit(open_dataset(dataset), SplitConfig.parse(values))
    emit(found, as_json, lambda: print_audit(found, str(dataset)))


def print_audit(audit: Audit, name: str) -> None:
    """The audit for people, on standard output."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from onward.data.audit.findings import percent

    console, counts = Console(), audit.counts
    console.print(
        Text.assemble(
            (name, "bold"),
            f" under protocol '{audit.protocol.protocol}': {counts['events']:,} events of {counts['users']:,} users on "
            f"{counts['items']:,} items; {counts['training_events']:,} train, {counts['test_events']:,} test.",
        )
    )
    table = Table(box=None, pad_edge=False)
    for column, justify in (("", "left"), ("finding", "left"), ("number", "right"), ("share", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for finding in audit.findings:
        severity = Text(finding.severity, style=COLOURS[finding.severity])
        table.add_row(severity, finding.title, f"{finding.number:,}", percent(finding.share))
    console.print(Padding(table, (1, 0)))
    for finding in audit.findings:
        if finding.severity == "ok":
            continue
        console.print(Text.assemble((finding.severity, COLOURS[finding.severity]), "  ", (finding.title, "bold")))
        for label, text in (("found", finding.found), ("effect", finding.effect), ("do", finding.advice)):
            console.print(Padding(Text.assemble((f"{label}: ", "dim"), text), (0, 0, 0, 2)))
        console.print()
    tally = ", ".join(f"{audit.count(severity)} {severity}" for severity in COLOURS)
    console.print(f"{len(audit.findings)} checks: {tally}.")
