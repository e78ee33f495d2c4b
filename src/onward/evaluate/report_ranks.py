"""Where the targets stand in each model's ranking: shares by band of ranks, and within the first k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from onward.data.sequences import Ints
from onward.evaluate.bootstrap import Floats

EDGES = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000)
"""Last rank of each band; what lies beyond the last is one band more."""
POINTS = 40
"""Points of the curve of shares within the first k, at most."""


def within(above: Ints, tied: Ints, ks: Sequence[int]) -> Floats:
    """Share of the targets among the first k, for each k; a tie counts by the part of its places that lie there.

    Args:
        above, tied: (T,) as in `Ranks`: the rank is uniform on above + 1 to above + tied; tied 0 is a miss.
    """
    found = tied > 0
    places = np.maximum(tied, 1)
    return np.array([(np.clip((k - above) / places, 0, 1) * found).sum() / len(above) for k in ks])


def rank_histogram(tables: Sequence[pl.DataFrame], candidates: int) -> dict[str, Any]:
    """Bands with the share of each model's targets in them, and the points of the curve; each a list by model.

    Args:
        tables: `Evaluation.table` of each model.
        candidates: items ranked.
    """
    ends = [edge for edge in EDGES if edge < candidates]
    ks = np.unique(np.geomspace(1, max(candidates, 1), POINTS).round().astype(int)).tolist()
    flat = [table.select(pl.col("above", "tied").explode()) for table in tables]
    ranks = [(one["above"].to_numpy().astype(np.int64), one["tied"].to_numpy().astype(np.int64)) for one in flat]
    reached = [within(above, tied, [*ends, candidates]) for above, tied in ranks]
    shares = [np.diff(one, prepend=0.0) for one in reached]
    starts = [1, *(end + 1 for end in ends)]
    labels = [_band(first, last) for first, last in zip(starts, [*ends, candidates], strict=True)]
    bands = [{"label": label, "shares": [float(one[band]) for one in shares]} for band, label in enumerate(labels)]
    missed = [float(1 - one[-1]) for one in reached]
    if any(share > 1e-9 for share in missed):
        bands.append({"label": "never", "shares": [max(share, 0.0) for share in missed]})
    return {
        "bands": bands,
        "ks": ks,
        "within": [within(above, tied, ks).round(6).tolist() for above, tied in ranks],
        "medians": [_median(above, tied) for above, tied in ranks],
        "targets": len(ranks[0][0]),
    }


def _median(above: Ints, tied: Ints) -> float | None:
    """The median target's rank, the middle one of its tie; None where that target is a miss."""
    middle = np.where(tied > 0, above + (tied + 1) / 2, np.inf)
    found = float(np.median(middle))
    return found if np.isfinite(found) else None


def _band(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}–{last:,}"
