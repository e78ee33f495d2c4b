"""`onward models`: what can be trained, and each model's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.models.cost import Cost
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

    table = Table("model", "what it is", box=SIMPLE_HEAD)
    for heading in ("parameters", "MFLOP/event"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("notes")
    for entry in entries:
        notes = ["order matters"] if entry.ordered else []
        notes += ["times matter"] if entry.timed else []
        notes += ["trains on prefixes, a row for every event"] if entry.windows == ["prefix"] else []
        notes += ["holds rows of users"] if entry.holds_user_rows else []
        notes += [f"at most {entry.max_items:,} items"] if entry.max_items else []
        table.add_row(f"[bold]{entry.name}[/bold]", escape(entry.about), *_cost(entry.cost), "; ".join(notes))
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
    if entry.cost is not None:
        cost, (parameters, operations) = entry.cost, _cost(entry.cost)
        console.print(
            f"cost: {parameters} parameters, and {cost.item_parameters:,} for {cost.items:,} items; "
            f"{operations} million floating-point operations an event (encoder + loss, forward, {cost.length} steps)"
        )
    if not entry.settings:
        console.print("It has no settings.")
        return
    table = Table("setting", "default", "values", "what it does", "searched", box=SIMPLE_HEAD)
    for setting in entry.settings:
        default = "absent" if setting.default is None else str(setting.default)
        table.add_row(setting.name, default, setting.values or setting.type, escape(setting.about), setting.searched)
    console.print(table)
    console.print(f"To change one: onward train DATASET --model {entry.name} --set model.NAME=VALUE")
    console.print(f"To search for the best: onward tune DATASET --model {entry.name}")
