"""Lines of metrics.jsonl as trackers take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onward.tracking.protocol import Logged


def as_logged(line: Mapping[str, Any]) -> Logged:
    """The numbers of a line, named by its kind: `loss` of a line `train` is `train/loss`."""
    return Logged(
        line["step"],
        {
            f"{line['kind']}/{name}": float(value)
            for name, value in line.items()
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
        },
    )
