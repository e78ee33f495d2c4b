"""`onward models`: what can be trained, and each model's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.models.describe import ModelEntry


def models(
    name: Annotated[str | None, Parameter(help="Show this model's settings; all models when absent.")] = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List the models, or show one model's settings.

    Example: onward models sasrec
    """
    from onward.models.describe import ModelList, describe_model, describe_models

    entries = describe_models() if name is None else [describe_model(name)]
    render = _print_all if name is None else _print_one
    emit(ModelList(models=entries), as_json, lambda: render(entries))


def _print_all(entries: list[ModelEntry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("model", "kind", "what it is", "notes", box=SIMPLE_HEAD)
    for entry in entries:
        notes = ["order matters"] if entry.ordered else []
        notes += ["holds rows of users"] if entry.holds_user_rows else []
        notes += [f"at most {entry.max_items:,} items"] if entry.max_items else []
        table.add_row(f"[bold]{entry.name}[/bold]", entry.kind, escape(entry.about), "; ".join(notes))
    console = Console(highlight=False)
    console.print(table)
    console.print("Settings and paper of one: onward models NAME")


def _print_one(entries: list[ModelEntry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    (entry,) = entries
    console = Console(highlight=False)
    console.print(f"[bold]{entry.name}[/bold], {entry.kind}: {escape(entry.about)}")
    if entry.paper:
        console.print(f"paper: {entry.paper}")
    if not entry.settings:
        console.print("It has no settings.")
        return
    table = Table("setting", "default", "values", "what it does", box=SIMPLE_HEAD)
    for setting in entry.settings:
        default = "absent" if setting.default is None else str(setting.default)
        table.add_row(setting.name, default, setting.values or setting.type, escape(setting.about))
    console.print(table)
    console.print(f"To change one: onward train DATASET --model {entry.name} --set model.NAME=VALUE")
