"""What every command shares: the --json flag, where output goes, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console

    from onward.payload import Payload

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object on standard output.")]


Track = Annotated[
    str | None,
    Parameter(
        help="Trackers to log to beside the folder that is written, with commas: tensorboard, mlflow, wandb... "
        "[default: none]"
    ),
]


def tracking(track: str | None) -> list[str]:
    """The setting that `--track` stands for."""
    return [] if track is None else [f"track={words(track)}"]


def words(text: str) -> str:
    """Words with commas between them, as the value of a setting."""
    return json.dumps(listed(text), ensure_ascii=False)


def listed(text: str | None) -> list[str]:
    """Words with commas between them; none of None."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def console(error: bool = False) -> Console:
    """Where text for people goes: whole lines into files and pipes, wrapped at words on a terminal."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, soft_wrap=not stream.isatty())


def emit(payload: Payload, as_json: bool, render: Callable[[], None]) -> None:
    """Print the result: one JSON object on standard output under --json, else what `render` prints for people."""
    if as_json:
        print(json.dumps(payload.as_dict(), allow_nan=False))
    else:
        render()


def print_error(message: str, hint: str = "") -> None:
    """An error on standard error, for people."""
    from rich.text import Text

    out = console(error=True)
    out.print(Text.assemble(("error: ", "bold red"), message))
    if hint:
        out.print(Text.assemble(("hint: ", "bold"), hint))
    sys.stderr.flush()
