"""`onward models`: what can be trained, and each model's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from rich.console import Console

    from onward.models.cost import Cost
    from onward.models.describe import ModelEntry, Setting


def models(
    name: Annotated[str | None, Parameter(help="Show this model's settings; all models when absent.")] = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List the models, or show one model's settings.

    Example: onward models sasrec
    """
    from onward.models.describe import ModelList, describe_model, describe_models, describe_run

    found = ModelList(models=describe_models() if name is None else [describe_model(name)], run=describe_run())
    emit(found, as_json, lambda: _print_all(found.models) if name is None else _print_one(found.models[0], found.run))


def _print_all(entries: list[ModelEntry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    table.add_column("what it is")
    for heading in ("parameters", "MFLOP/event"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        notes = ["order matters"] if entry.ordered else []
        notes += ["times matter"] if entry.timed else []
        notes += ["trains on prefixes, a row for every event"] if entry.windows == ["prefix"] else []
        notes += ["holds rows of users"] if entry.holds_user_rows else []
        notes += [f"at most {entry.max_items:,} items"] if entry.max_items else []
        about = escape(entry.about) + (f" [dim]{'; '.join(notes).capitalize()}.[/dim]" if notes else "")
        table.add_row(f"[bold]{entry.name}[/bold]", about, *_cost(entry.cost))
    console = Console(highlight=False)
    console.print(table)
    for cost in [entry.cost for entry in entries if entry.cost is not None][:1]:
        console.print(
            "Of models trained by the loop, at default settings: parameters without those of items; operations an "
            f"event, encoder + loss, forward, for {cost.items:,} items."
        )
    console.print("Settings and paper of one: onward models NAME")


def _cost(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return "", ""
    return f"{cost.encoder_parameters:,}", f"{cost.encoder_flops / 1e6:.2f} + {cost.loss_flops / 1e6:.2f}"


def _print_one(entry: ModelEntry, run: list[Setting]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(f"[bold]{entry.name}[/bold], {entry.kind}: {escape(entry.about)}")
    if entry.paper:
        console.print(f"paper: {entry.paper}")
    if entry.cost is not None:
        cost, (parameters, operations) = entry.cost, _cost(entry.cost)
        console.print(
            f"cost: {parameters} parameters, and {cost.item_parameters:,} for {cost.items:,} items; "
            f"{operations} million floating-point operations an event (encoder + loss, forward, {cost.length} steps)"
        )
    console.print("\n[bold]Its own settings[/bold]" if entry.settings else "\nIt has no settings of its own.")
    for setting in entry.settings:
        _print_setting(console, f"model.{setting.name}", setting)
    console.print("\n[bold]Settings of every training[/bold]")
    for setting in run:
        if entry.trainable or setting.name.startswith("split."):
            _print_setting(console, setting.name, setting)
    console.print(f"\nTo change one: onward train DATASET --model {entry.name} --set NAME=VALUE")
    if entry.settings:
        console.print(f"To search for the best: onward tune DATASET --model {entry.name}")


def _print_setting(console: Console, name: str, setting: Setting) -> None:
    """Name, default and values in one line, what it does below: as legible in 80 columns as in 200."""
    from rich.markup import escape
    from rich.padding import Padding

    default = "absent" if setting.default is None else str(setting.default)
    values = setting.values or setting.type
    console.print(Padding(f"[bold]{name}[/bold] = {escape(default)}  [dim]({escape(values)})[/dim]", (0, 0, 0, 2)))
    searched = f" Searched: {escape(setting.searched)}." if setting.searched else ""
    console.print(Padding(escape(setting.about) + searched, (0, 0, 0, 6)))
