"""The server under load: lists and events a second, latencies, memory, against the bars of a small machine.

python bench/serve.py --model RUN --data DATASET [--only bare,lists,mixed,...] [--seconds 20] [--soak 10]

RUN is a SASRec (64 wide, 2 blocks, length 200) on MovieLens-1M, whose catalog the bars are for; without one, a small
one on MovieLens-100K is made, and the report says so. Real servers are started, with keys and rules, and asked over
HTTP by wrk (apt-get install wrk), or at fixed rates by `serving/open_loop.py`, on the same machine. Raw numbers are
kept in .bench/serving.json, section by section, and bench/SERVING.md is written from all of them. Exits with 1 when a
bar is missed.

Sections: bare (FastAPI alone, the limit), lists, mixed (events beside lists), catalog (100,000 items), million (exact
and faiss), trickle (slow connections), start (seconds, memory), soak (only with --soak MINUTES).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from serving import material, report, sections


def main() -> int:
    """Measure the sections asked for, write the report of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="run or bundle; needs --data")
    parser.add_argument("--data", type=Path, help="the data set that it was trained on")
    parser.add_argument("--only", default=",".join(sections.SECTIONS), help="sections, with commas between")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--users", type=int, default=2_000, help="users whose events are in the store")
    parser.add_argument("--connections", type=int, default=16, help="of wrk")
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--soak", type=float, default=0.0, help="minutes under load, section soak")
    parser.add_argument("--soak-rate", type=float, default=500.0, help="lists a second of the soak")
    parser.add_argument("--million-events", type=int, default=2_000_000, help="that the million items are trained on")
    given = parser.parse_args()
    asked = given.only.split(",")
    if given.soak and "soak" not in asked:
        asked.append("soak")
    for name in asked:
        if name not in (*sections.SECTIONS, "soak", "none"):
            parser.error(f"no section '{name}': {', '.join([*sections.SECTIONS, 'soak'])}")
    needed = {"lists", "mixed", "trickle", "start", "soak"} & set(asked)
    main_material = material.given(given.model, given.data, given.users) if needed else None
    plan = sections.Plan(main_material, given)
    for name in asked:
        if name != "none":
            print(f"{name}...", flush=True)
            report.remember(name, sections.measure(name, plan))
    return report.write()


if __name__ == "__main__":
    sys.exit(main())
