"""What every command shares: the --json flag, where output goes, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from onward.payload import Payload

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object on standard output.")]


def emit(payload: Payload, as_json: bool, render: Callable[[], None]) -> None:
    """Print the result: one JSON object on standard output under --json, else what `render` prints for people."""
    if as_json:
        print(json.dumps(payload.as_dict(), allow_nan=False))
    else:
        render()


def print_error(message: str, hint: str = "") -> None:
    """An error on standard error, for people."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), message))
    if hint:
        console.print(Text.assemble(("hint: ", "bold"), hint))
    sys.stderr.flush()
