"""The server's clock, as the store reads it."""

from __future__ import annotations

import time
from collections.abc import Callable

from onward.serve.store.values import FUTURE_LIMIT


class Clock:
    """Microseconds UTC that don't run backwards when the system's clock is set back a little.

    An event without a time of its own takes the clock's, and would come before those that it followed. When the clock
    is set back by more than events may be ahead, it is believed, for it was plainly wrong before.
    """

    def __init__(self, wall: Callable[[], int] = lambda: time.time_ns() // 1_000) -> None:
        self._wall = wall
        self._last = 0

    def now(self) -> int:
        """The present, at or after the last answer unless the clock was set back by more than five minutes."""
        wall = self._wall()
        self._last = wall if self._last - wall > FUTURE_LIMIT else max(wall, self._last)
        return self._last
