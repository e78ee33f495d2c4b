"""Strictly cold items: what text tells about items that training never saw, on three public files.

python bench/cold.py --data FOLDER [--files ml-100k ...] [--models ...] [--seeds 0 1 2] [-o .bench/cold]

Models: `content-knn`; `sasrec`, item ids alone; `tower`, the same with the features of the items; `shuffled`, the
tower with each item's features swapped for another's. The candidates are the cold items alone, and all items. Printed:
NDCG@10 and HR@10 over the seeds, and the paired difference from content-knn with its 95% interval over users.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cold_files import FILES, Log
from onward.bundle import load_bundle
from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.evaluate.bootstrap import paired_tests
from onward.evaluate.cold import of_cold
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.features.attach import histories_for
from onward.train.run import train

MODELS = ("content-knn", "sasrec", "tower", "shuffled")
METRICS = ("ndcg@10", "hr@10")
SETTINGS = {
    "amazon-beauty": ("train.epochs=12", "model.max_length=50", "model.dropout=0.5", "train.batch_tokens=1024"),
    "amazon-office-text": ("train.epochs=40", "model.max_length=50", "model.dropout=0.5", "train.batch_tokens=1024"),
    "ml-100k": ("train.epochs=40", "model.max_length=200", "model.dropout=0.2", "train.batch_tokens=2048"),
}
Measured = dict[str, np.ndarray]


@dataclass(frozen=True)
class Bench:
    """One file with one seed.

    Attributes:
        kept: folder for what is made.
        extra: further settings of the tower.
    """

    name: str
    data: Path
    kept: Path
    seed: int
    extra: tuple[str, ...]

    def log(self) -> Log:
        return FILES[self.name](self.data / self.name, self.seed)

    def dataset(self, shuffled: bool) -> Dataset:
        folder = self.kept / f"{self.name}-{self.seed}{'-shuffled' if shuffled else ''}"
        if folder.exists():
            return open_dataset(folder)
        log = self.log().shuffled(self.seed) if shuffled else self.log()
        return prepare(log.events, folder, items=log.items, time="timestamp", time_unit="s")

    def train(self, model: str) -> Path:
        run = self.kept / f"{self.name}-{self.seed}-run-{model}"
        if (run / "model").exists():
            return run
        valid, test = self.log().cuts
        settings = [f"split.valid_from={valid * 10**6}", f"split.test_from={test * 10**6}", "split.request_time=none"]
        if model != "content-knn":
            settings += SETTINGS[self.name]
        if model in ("tower", "shuffled"):
            settings += ['model.features=["items"]', *self.extra]
        name = "content-knn" if model == "content-knn" else "sasrec"
        data = self.dataset(model == "shuffled")
        train(data, name, run, protocol="time", seed=self.seed, settings=settings, overwrite=True, progress=False)
        return run

    def measure(self, model: str) -> Measured:
        """Metrics of every request, by candidates: `cold/ndcg@10`, `all/ndcg@10`...; `user`: whose it is."""
        log, bundle, data = self.log(), load_bundle(self.train(model)), self.dataset(model == "shuffled")
        histories = histories_for(bundle.model, data)
        made = split(histories, bundle.manifest.split)
        ids = np.array(data.catalog.ids)
        cold = np.concatenate([[False], np.isin(ids, sorted(log.cold))])
        assert not made.training(histories).item_counts()[cold].any()
        rows = cold[histories.item[made.test.target_start]]
        users = data.users["user"].to_numpy()[made.test.user]
        if log.asked is not None:
            rows &= np.isin(users, sorted(log.asked)) & (made.test.target_end == histories.end[made.test.user])
        part = made.test.select(rows)
        whose = [name.partition(" ")[0] for name in users[rows]]
        found: Measured = {"user": np.unique(whose, return_inverse=True)[1]}
        for label, candidates in (("cold", cold), ("all", bundle.model.items.candidates | cold)):
            ranks = of_cold(rank_targets(bundle.model, histories, part, "exclude", candidates), cold)
            values = request_metrics(ranks, (10,))
            found |= {f"{label}/{metric}": values[metric] for metric in METRICS}
        found["candidates"] = np.array([cold.sum(), (bundle.model.items.candidates | cold).sum()])
        return found


def report(name: str, measured: Mapping[str, list[Measured]]) -> None:
    """Print the table of one file: mean and deviation over seeds, and each seed's difference from content-knn."""
    first = next(iter(measured.values()))[0]
    n_cold, n_items = first["candidates"]
    print(f"\n{name}: {len(first['user']):,} requests, {n_cold:,} cold of {n_items:,} items")
    for label in ("cold", "all"):
        for model, seeds in measured.items():
            means = {metric: np.array([one[f"{label}/{metric}"].mean() for one in seeds]) for metric in METRICS}
            line = "  ".join(f"{metric} {mean.mean():.4f} ± {mean.std():.4f}" for metric, mean in means.items())
            print(f"  {label:5} {model:12} {line}", _against(label, seeds, measured.get("content-knn")))


def _against(label: str, seeds: list[Measured], reference: list[Measured] | None) -> str:
    if reference is None or seeds is reference:
        return ""
    texts = []
    for one, other in zip(seeds, reference, strict=True):
        difference = (one[f"{label}/ndcg@10"] - other[f"{label}/ndcg@10"])[:, None]
        test = paired_tests(one["user"], difference)[0].difference
        texts.append(f"{test.value:+.4f} [{test.low:+.4f}, {test.high:+.4f}]")
    return " vs content-knn " + ", ".join(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--kept", type=Path, default=Path(".bench/cold"))
    parser.add_argument("--files", nargs="+", default=list(FILES), choices=FILES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], dest="extra", help="further settings of the tower")
    asked = parser.parse_args()
    for name in asked.files:
        measured: dict[str, list[Measured]] = {model: [] for model in asked.models}
        for seed in asked.seeds:
            bench = Bench(name, asked.data, asked.kept, seed, tuple(asked.extra))
            for model in asked.models:
                measured[model].append(bench.measure(model))
                one = measured[model][-1]
                means = {key: float(value.mean()) for key, value in one.items() if "@" in key}
                print(json.dumps({"file": name, "seed": seed, "model": model, **means}), flush=True)
        report(name, measured)


if __name__ == "__main__":
    main()
