"""`onward doctor`: what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from onward.cli.common import Json, emit

if TYPE_CHECKING:
    from onward.preferences import Preferences
    from onward.train.calibrate import Doctor


def doctor(
    *,
    measure: Annotated[bool, Parameter(help="Measure again how this machine trains fastest.", negative="")] = False,
    as_json: Json = False,
) -> None:
    """Say what this machine has: cores, memory, PyTorch, bf16, GPU, extras, cached data sets.

    The first time, it also measures for some seconds how this machine trains fastest, and trainings go by that from
    then on. On a busy machine it doesn't keep what it measured.

    Example: onward doctor
    """
    from onward.machine import describe_machine
    from onward.preferences import preferences
    from onward.train.calibrate import Doctor

    found = preferences()
    if measure or not found.measured:
        found = _measure()
    facts = Doctor(**dict(describe_machine()), training=found)
    emit(facts, as_json, lambda: _print(facts))


def _measure() -> Preferences:
    from onward.cli.progress import steps_progress
    from onward.preferences import remember
    from onward.train.calibrate import calibrate

    with steps_progress("measuring") as progress:
        found = calibrate(progress)
    if not found.busy:
        remember(found)
    return found


def _print(facts: Doctor) -> None:
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
        "compiled": "yes"
        if facts.compiled
        else "no, so training and answers take longer; to know why: python -m onward.native.build",
        "training": _training(facts.training),
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


def _training(found: Preferences) -> str:
    """How this machine trains fastest, in a line."""
    speeds = found.events_per_second
    fastest = {
        precision: max(speed for name, speed in speeds.items() if name.startswith(precision))
        for precision in ("float32", "bfloat16")
    }
    times = fastest["bfloat16"] / fastest["float32"]
    text = (
        f"{found.threads} threads, {found.softmax} softmax ({times:.2g} times as fast in bfloat16 as in float32), "
        f"{found.chunk_rows} rows at once"
    )
    return text + ("; not kept, as the machine is busy: run this again when it isn't" if found.busy else "")


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"
