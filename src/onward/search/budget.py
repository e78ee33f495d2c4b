"""Wall-clock time: how much there is, and what is left."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from onward.errors import ConfigError

Clock = Callable[[], float]
"""Seconds from any moment on."""
EPOCHS_LEAST = 3
"""No training is begun that can't have as many."""
EPOCHS_WHOLE = 25
"""Of a training to its end, about: as many models are trained as could all have one."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Budget:
    """A search's time, over all of its sessions.

    Args:
        seconds: what this session may take.
        spent: what earlier sessions took.
        clock: what tells the time.
        since: when the session began, by the clock; now where absent.
    """

    def __init__(
        self, seconds: float, spent: float = 0.0, clock: Clock = time.monotonic, since: float | None = None
    ) -> None:
        self.clock = clock
        self.started = clock() if since is None else since
        self.seconds, self.total = seconds, spent + seconds
        self._end = self.started + seconds

    @property
    def left(self) -> float:
        """Seconds until the end; below zero after it."""
        return self._end - self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds of this session."""
        return self.clock() - self.started

    @property
    def used(self) -> float:
        """Share of the total that is gone, 0 to 1 and more."""
        return 1 - self.left / self.total if self.total > 0 else 1.0


def parse_duration(text: str) -> float:
    """Seconds of a text such as `30m`, `1h30m`, `90s`. Raises ConfigError for another."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip().lower():
        raise ConfigError(f"--budget {text!r} is no time", "for example 90s, 30m, 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def say_duration(seconds: float) -> str:
    """The same for people, rounded: `45s`, `4m`, `1h30m`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes = round(whole / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"
