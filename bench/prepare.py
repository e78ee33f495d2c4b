"""Preparing synthetic events: seconds, events a second and peak memory, against a bar.

python bench/prepare.py [EVENTS] [csv|parquet]...

The log (a million users, 200,000 items, Zipf popularity; user, item, time, rating; rows in time order) is generated
first and not counted. Each run is a fresh process, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

BAR_SECONDS, BAR_GIB, BAR_SPEED = 60.0, 4.0, 400_000
"""For ten million events on two cores; more may take longer at this many events a second, and 8 GiB."""

CHILD = """
import json, resource, sys, time
from onward.data.prepare import prepare
begin = time.perf_counter()
manifest = prepare(sys.argv[1], sys.argv[2]).manifest
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"seconds": seconds, "gib": peak, "events": manifest.events, "hash": manifest.hash}))
"""


def generate(path: Path, events: int) -> None:
    """Write the log in pieces, so that a large one needs no memory to speak of."""
    import polars as pl

    from onward.data.synthetic import zipf_events

    piece = 5_000_000
    folder = path.parent / f"{path.name}.pieces"
    folder.mkdir()
    for number, first in enumerate(range(0, events, piece)):
        frame = zipf_events(min(piece, events - first), 1_000_000, 200_000, seed=number)
        later = number * 365 * 86400  # each piece a year after the one before
        frame.with_columns(pl.col("time") + later).write_parquet(folder / f"{number:04}.parquet")
    whole = pl.scan_parquet(folder)
    whole.sink_csv(path) if path.suffix == ".csv" else whole.sink_parquet(path)


def main(events: int, kinds: list[str]) -> int:
    """Print a table; returns 1 when ten million events (or fewer) are above the bar."""
    failed = False
    print(f"{'input':10} {'events':>12} {'input MB':>9} {'seconds':>8} {'events/s':>10} {'peak GiB':>9}  bar")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"log.{kind}"
            generate(path, events)
            command = [sys.executable, "-c", CHILD, str(path), str(Path(folder) / "dataset")]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            bar = max(BAR_SECONDS, events / BAR_SPEED), BAR_GIB if events <= 10_000_000 else 2 * BAR_GIB
            over = done["seconds"] > bar[0] or done["gib"] > bar[1]
            failed |= over
            print(
                f"{kind:10} {done['events']:12,} {path.stat().st_size / 1e6:9,.0f} {done['seconds']:8.1f} "
                f"{done['events'] / done['seconds']:10,.0f} {done['gib']:9.2f}  "
                f"{bar[0]:g} s, {bar[1]:g} GiB: {'TOO MUCH' if over else 'ok'}"
            )
    return int(failed)


if __name__ == "__main__":
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    sys.exit(
        main(
            int(numbers[0]) if numbers else 10_000_000,
            [a for a in sys.argv[1:] if not a.isdigit()] or ["csv", "parquet"],
        )
    )
