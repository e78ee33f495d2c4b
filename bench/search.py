"""Search with pruning and without it: configurations tried a minute, and whether they find the same winner.

    python bench/search.py DATASET [--model sasrec] [--seconds 120] [--seeds 0 1] [--set KEY=VALUE ...]

Both searches are of one model on the same data, each with the same seconds of processor time, so that other work on the
machine changes nothing. Only the validation part is looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from onward.config import SplitConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.split import split
from onward.search.budget import Budget
from onward.search.candidates import choose
from onward.search.facts import find_facts
from onward.search.search import Search
from onward.search.settings import SearchConfig
from onward.search.study import StudyFile, settings_text
from onward.search.trial import TrainObjective


def measure(
    data: Dataset, model: str, settings: tuple[str, ...], seconds: float, seed: int, prune: bool
) -> dict[str, Any]:
    """One search: trials, those that went to their end, trials a minute, the best value and its settings."""
    divided = split(data.histories, SplitConfig(), data.manifest.actions)
    config = SearchConfig(
        dataset=data.manifest.hash, split=divided.config, seed=seed, settings=settings, budget=seconds
    )
    (candidate,) = choose([model], find_facts(data, divided), seconds, None)
    candidate = candidate.without(config.kept)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "trials").mkdir()
        objective = TrainObjective(data, config.split, seed, settings, config.train.monitor)
        study = StudyFile(folder / "study.db", config.lower, prune, seed)
        with closing(study):
            family = study.family(candidate)
            budget = Budget(seconds, 0.0, time.process_time)
            search = Search([family], objective, budget, lambda: 0.0, folder / "trials")
            search.run()
            tried = family.count(TrialState.COMPLETE, TrialState.PRUNED)
            best = family.best
            assert best is not None
            return {
                "prune": prune,
                "seed": seed,
                "seconds": round(budget.elapsed, 1),
                "trials": tried,
                "complete": family.count(TrialState.COMPLETE),
                "failed": family.count(TrialState.FAIL),
                "a_minute": round(60 * tried / budget.elapsed, 2),
                "best": best.value,
                "settings": settings_text(best.params),
            }


def main() -> None:
    """Print one line of JSON a search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="sasrec")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    given = parser.parse_args()
    data = open_dataset(given.dataset)
    for seed in given.seeds:
        for prune in (True, False):
            found = measure(data, given.model, tuple(given.settings), given.seconds, seed, prune)
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
