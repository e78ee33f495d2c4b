"""Values of coded event features that events still have once some were left out, with codes numbered anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from onward.data.columns import ColumnWriter, file_name
from onward.data.features.events import EventFeature

_SLICE = 4_000_000


def used_values(events: Path, features: Sequence[EventFeature]) -> dict[str, pl.Series]:
    """Coded feature -> the values that occur in its final array; the array is written again where some don't.

    Args:
        events: folder of the final arrays.
    """
    made = {}
    for feature in features:
        values = feature.values
        if values is None:
            continue
        file = events / f"{file_name(feature.column)}.npy"
        codes = np.load(file, mmap_mode="r")
        used = np.zeros(values.len() + 1, dtype=np.bool_)
        for first in range(0, len(codes), _SLICE):
            used[codes[first : first + _SLICE]] = True
        used[0] = True
        if not used.all():
            number = (np.cumsum(used) - 1).astype(np.int32)
            anew = events.parent / "renumbered"
            with ColumnWriter(anew, {feature.column: feature.stored}) as writer:
                for first in range(0, len(codes), _SLICE):
                    writer.append({feature.column: number[codes[first : first + _SLICE]]})
            (anew / file.name).replace(file)
            anew.rmdir()
            values = values.filter(pl.Series(used[1:]))
        made[feature.name] = values
    return made
