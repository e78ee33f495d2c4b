"""Seconds that `import onward` and `onward --help` take: the median of several fresh interpreters, against a bar.

python bench/imports.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CASES = {
    "import onward": (["-c", "import onward"], 0.3),
    "onward --help": (["-c", "from onward.cli.main import main; main(['--help'])"], 0.5),
}


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one fresh interpreter."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main(runs: int) -> int:
    """Print each case's median; returns 1 when one is above its bar."""
    slow = False
    for name, (arguments, bar) in CASES.items():
        seconds(arguments)  # fills the disk cache and writes the byte code
        taken = statistics.median(seconds(arguments) for _ in range(runs))
        slow |= taken > bar
        print(f"{name:15} {taken:.3f} s   bar {bar} s   {'TOO SLOW' if taken > bar else 'ok'}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
