"""The benchmark's files are scripts beside the package, so their folders are put on the path."""

import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers")]
