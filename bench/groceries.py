"""Groceries: what a gate that repeats, and features, add to item ids, on the Complete Journey (docs/groceries.md).

python bench/groceries.py train NAME --data DATASET [--seed 0] [--seconds N] [-o .bench/groceries]
python bench/groceries.py report [-o .bench/groceries]

DATASET is prepared as docs/groceries.md says. NAME: `personal-frequency` and the same with a half-life, chosen on
validation; `ids`, SASRec by item ids alone, and `ids-50`, the same with the newest 50 baskets; `repeat`, with the gate;
`full`, with the gate and all features; `full-32`, the same 32 wide, one epoch, for a processor. Protocol `time`, whole
baskets asked for, seen items included. `report` gives means over the seeds and paired relative changes with 95%
intervals over households and seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from onward.data.dataset import open_dataset
from pooled import measure, report

SASREC = {"name": "sasrec", "loss": "cross_entropy", "max_length": 512}
MODELS: dict[str, dict[str, Any]] = {
    "personal-frequency": {"name": "personal-frequency"},
    "personal-frequency-30": {"name": "personal-frequency", "half_life": 30.0},
    "popularity": {"name": "popularity"},
    "ids-50": SASREC | {"max_length": 50},
    "ids": SASREC,
    "repeat": SASREC | {"repeat": True},
    "full": SASREC | {"repeat": True, "features": "all"},
    "full-32": SASREC | {"repeat": True, "features": "all", "width": 32},
}
TRAIN = {"epochs": 12, "batch_tokens": 1024, "validate_every": 1, "item_optimiser": "adagrad"}


def main() -> None:
    """Train one model, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["train", "report"])
    parser.add_argument("name", nargs="?", choices=list(MODELS))
    parser.add_argument("--data", type=Path, default=Path("journey"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="of one training; fewer epochs where not all of them fit")
    parser.add_argument("-o", "--out", type=Path, default=Path(".bench/groceries"))
    given = parser.parse_args()
    if given.do == "report":
        print(report(given.out, list(MODELS), ["personal-frequency", "personal-frequency-30", "ids"]))
        return
    work = given.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    settings = {"split": {"protocol": "time"}, "train": TRAIN, "model": MODELS[given.name]}
    if given.name == "full-32":
        settings["train"] = TRAIN | {"epochs": 1}
    measure(open_dataset(given.data), given.name, given.seed, settings, work, given.out, given.seconds)


if __name__ == "__main__":
    main()
