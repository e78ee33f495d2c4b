"""`onward models`: what can be trained, and each model's settings."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from onward.cli.common import Json, emit


def models(
    name: Annotated[str | None, Parameter(help="Show this model's settings; all models when absent.")] = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List the models, or show one model's settings.

    Examples:
        onward models
        onward models sasrec
    """
    from onward.models.describe import describe_model, describe_models

    entries = describe_models() if name is None else [describe_model(name)]
    render = _print_all if name is None else _print_one
    emit({"format": "onward.models/1", "models": entries}, as_json, lambda: render(entries))


def _print_all(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "kind", "what it is", "order", "user rows", "most items")
    for entry in entries:
        most = "" if entry["max_items"] is None else f"{entry['max_items']:,}"
        about = entry["about"] + (f"\n[dim]{entry['paper']}[/dim]" if entry["paper"] else "")
        flags = ("yes" if entry[trait] else "" for trait in ("ordered", "holds_user_rows"))
        table.add_row(f"[bold]{entry['name']}[/bold]", entry["kind"], about, *flags, most)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "order: the order of a history matters. user rows: the weights hold rows of training users.\n"
        "most items: the largest catalog the model takes. A model's settings: onward models NAME"
    )


def _print_one(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    (entry,) = entries
    console = Console(highlight=False)
    console.print(f"[bold]{entry['name']}[/bold], {entry['kind']}: {entry['about']}")
    if entry["paper"]:
        console.print(f"paper: {entry['paper']}")
    if not entry["settings"]:
        console.print("It has no settings.")
        return
    table = Table("setting", "default", "values", "what it does")
    for setting in entry["settings"]:
        default = "absent" if setting["default"] is None else str(setting["default"])
        table.add_row(setting["name"], default, setting["values"] or setting["type"], setting["about"])
    console.print(table)
    console.print(f"To change one: onward train DATASET --model {entry['name']} --set model.NAME=VALUE")
