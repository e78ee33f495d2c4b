"""`onward store forget`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from onward.cli.common import Json, console, emit
from onward.cli.keys_list import Store
from onward.payload import Payload

_NOUNS = {
    "events": "event",
    "clicks": "click",
    "shown": "shown list",
    "impressions": "logged list",
    "users": "user",
}
"""Table -> what a row of it is."""


class StoreCopy(Payload):
    """A copy that was made of the store."""

    kind: Literal["backup", "export"]
    """What was made."""
    path: str
    """Where."""
    time: int
    """When, microseconds UTC."""


class ForgottenUser(Payload):
    """What `onward store forget --json` prints: the receipt."""

    format: Literal["onward.store.forget/1"] = "onward.store.forget/1"
    """Format and version."""
    user: str
    """Who was forgotten."""
    time: int
    """Microseconds UTC; events of this user up to then are refused from now on."""
    removed: dict[str, int]
    """Table -> rows removed."""
    overwritten: bool
    """Whether the freed places of the database and of its log were overwritten."""
    details: list[str]
    """How, and what is left."""
    bundles: list[str]
    """Models that hold rows of training users, or links between them: train them again, without this user."""
    copies: list[StoreCopy]
    """Backups and exports made while the user's data was in the store: remove the user there too."""


def store_forget(
    user: Annotated[str, Parameter(help="The user's id, or that of a session: session:ID.")],
    /,
    *,
    store: Store = "onward.db",
    models: Annotated[Path | None, Parameter(help="The server's models folder, for the receipt.")] = None,
    as_json: Json = False,
) -> None:
    """Remove everything of a user, overwrite it, refuse what is sent too late, and print a receipt.

    Example: onward store forget ann --store shop.db --models models
    """
    from contextlib import closing

    from onward.serve.store.protocol import open_store

    bundles = [] if models is None else sorted(manifest.parent for manifest in models.glob("*/manifest.json"))
    with closing(open_store(store, create=False)) as opened:
        receipt = ForgottenUser.model_validate(asdict(opened.forget(user, bundles)))
    emit(receipt, as_json, lambda: _print(receipt, models))


def _print(receipt: ForgottenUser, models: Path | None) -> None:
    from rich.markup import escape

    from onward.data.times import describe
    from onward.evaluate.report_text import counted

    out = console()
    out.print(f"[bold]{escape(receipt.user)}[/bold] was forgotten at {describe(receipt.time)}")
    removed = (counted(count, _NOUNS[table]) for table, count in receipt.removed.items())
    out.print("removed: " + ", ".join(removed))
    for line in receipt.details:
        out.print(f"- {line}")
    if not receipt.overwritten:
        out.print("[yellow]not everything could be overwritten: run this once more[/yellow]")
    if models is None:
        out.print("models were not looked at: name their folder with --models")
    for bundle in receipt.bundles:
        out.print(f"[yellow]train again, if this user was in its data:[/yellow] {escape(bundle)}")
    for copy in receipt.copies:
        out.print(f"[yellow]remove the user there too:[/yellow] {copy.kind} {escape(copy.path)}")
