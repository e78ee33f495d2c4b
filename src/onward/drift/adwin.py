"""Changes of a mean along a stream, by ADWIN.

Bifet and Gavaldà ("Learning from time-changing data with adaptive windowing", SDM 2007): a window of the newest values
is cut where the means of its two sides differ by more than chance explains, and the older side is dropped. Nothing is
assumed of how large a change is or when it comes. river's implementation looks every 32 values.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from onward.errors import ConfigError, MissingExtraError

Floats = NDArray[np.float64]
DELTA = 0.002
"""Confidence: how likely a cut is by chance where the window is looked at, at most. A click rate that falls from .30 to
.20 after 2,000 lists is then found after some 650 more, after 1,050 nine times of ten; of 400 streams of 4,000 lists
alike none gave an alarm."""
FEWEST = 30
"""Values on either side of where a change is looked for."""


@dataclass(frozen=True)
class Change:
    """A change of the mean.

    Attributes:
        found: position of the value at which it was found.
        since: position from about which on things are different.
        before, after: means of the values from the change before (or the beginning) to `since`, and from there on.
    """

    found: int
    since: int
    before: float
    after: float


def changes(values: Floats, delta: float = DELTA) -> list[Change]:
    """Where the mean of a stream changed. After each change the detector begins anew with what came since.

    ADWIN says that a window holds a change, and drops its oldest bucket; where it lies is estimated here, by the cut
    whose sides differ most in units of their standard error.

    Args:
        values: (N,) in [0, 1], in order of time.
        delta: as `DELTA`.

    Raises:
        ConfigError: a delta outside 0 to 1.
        MissingExtraError: the extra `drift` isn't installed.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta = {delta:g} is a chance, between 0 and 1", "0.002 is usual; less gives fewer alarms")
    try:
        adwin = import_module("river.drift").ADWIN
    except ImportError:
        raise MissingExtraError("river", "drift") from None
    detector, first, found = adwin(delta=delta), 0, []
    for position, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            window = values[first : position + 1]
            cut = _cut(window)
            found.append(Change(position, first + cut, float(window[:cut].mean()), float(window[cut:].mean())))
            detector, first = adwin(delta=delta), first + cut
            for again in window[cut:].tolist():
                detector.update(again)
    return found


def _cut(window: Floats) -> int:
    """Values before the cut whose sides differ most, for their sizes."""
    total = len(window)
    left = np.arange(1, total)
    sums = np.cumsum(window)[:-1]
    gap = np.abs(sums / left - (window.sum() - sums) / (total - left))
    scaled = gap / np.sqrt(1 / left + 1 / (total - left))
    inside = slice(min(FEWEST, total // 2) - 1, max(total - FEWEST, total // 2))
    return int(left[inside][np.argmax(scaled[inside])])
