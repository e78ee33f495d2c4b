"""`onward doctor`: what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.machine import Machine


def doctor(*, as_json: Json = False) -> None:
    """Say what this machine has: cores, memory, PyTorch, bf16, GPU, extras, cached data sets.

    Example: onward doctor
    """
    from onward.machine import describe_machine

    facts = describe_machine()
    emit(facts, as_json, lambda: _print(facts))


def _print(facts: Machine) -> None:
    from rich.console import Console
    from rich.table import Table

    bf16 = " and ".join(facts.bf16)
    gpus = ", ".join(f"{gpu.name}, {_gib(gpu.memory)}" for gpu in facts.gpus)
    rows = {
        "onward": f"{facts.onward}, Python {facts.python}, {facts.system}",
        "processor": f"{facts.processor}, {facts.cores} cores usable",
        "memory": _gib(facts.memory),
        "torch": f"{facts.torch}, {facts.threads} threads, {facts.vectors}",
        "bf16": f"yes: {bf16}" if bf16 else "not in this processor",
        "GPU": gpus or "none that PyTorch sees; everything runs on the processor",
        "cache": f"{facts.cache}: {', '.join(facts.cached) or 'empty'}",
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    for extra in facts.extras:
        state = "installed" if extra.installed else f"not installed; to have it: {extra.install}"
        table.add_row(f"[bold]{extra.name}[/bold]", f"{extra.about}: {state}".replace("[", "\\["))
    Console(highlight=False).print(table)


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
