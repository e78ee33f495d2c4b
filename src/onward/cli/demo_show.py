"""What the demo prints."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path


class Show:
    """What the demo prints: numbered steps with the time, commands, text."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        self.started = time.monotonic()
        self.step, self.steps = 0, steps

    def title(self, text: str) -> None:
        """Begin the next step."""
        from rich.rule import Rule

        self.step += 1
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        self.console.print()
        self.console.print(
            Rule(f"[bold]{self.step} of {self.steps}  {text}[/]  [dim]{minutes}:{seconds:02d}[/]", align="left")
        )

    def text(self, text: str) -> None:
        """A line for people."""
        self.console.print(text, markup=False)

    def command(self, arguments: Sequence[str | Path], program: str = "$ onward") -> None:
        """Show a command as it would be typed."""
        typed = shlex.join(str(part) for part in arguments)
        self.console.print(f"{program} {typed}", style="cyan", markup=False, soft_wrap=True)

    def run(self, arguments: Sequence[str | Path]) -> None:
        """Show a command and run it, output and all."""
        from onward.cli.main import app

        self.command(arguments)
        app([str(part) for part in arguments], result_action="return_value")
