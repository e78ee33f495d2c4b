"""Strictly cold items: what features tell about items that training never saw, on three public files.

python bench/cold.py --data FOLDER [--files ml-100k ...] [--seeds 0 1 2] [--select] [--report]

Models: `content-knn`; `sasrec`, item ids alone; `tower`, the same with the features of the items; `tower-alone`, that
without likeness to the history's items, and without what cold items take over from trained ones; `shuffled`, the tower
with each item's features swapped for another's. What is ranked: the cold items alone, all items, and for requests that
ask for a trained item the trained ones and all.

`--select` first chooses the settings of content-knn for each seed, and with the first how likeness counts in the tower,
without the test: further items leave training, and requests for those are predicted (`Log.inner`). What was
measured stays in .bench/cold, one file each, so that a second call goes on where the first stopped; `--report` only
writes bench/COLD.md. Calls for different files or seeds may run side by side.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cold_files import FILES, Log
from cold_report import write_report
from onward.bundle import load_bundle
from onward.config import SplitConfig, TrainConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.data.split import Part, Split, split
from onward.evaluate.cold import of_cold
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Bools, Recommender, build, make_items
from onward.models.content_knn import ContentKNN
from onward.models.features.attach import histories_for
from onward.models.sequence import SequenceModel
from onward.train.run import train
from onward.train.unseen import fit_likeness, fit_shift

KEPT = Path(__file__).parent.parent / ".bench" / "cold"
MODELS = ("content-knn", "sasrec", "tower", "tower-alone", "shuffled")
METRICS = ("ndcg@10", "hr@10")
COSTS = (0.05, 0.2)
"""Shares of the trained items' NDCG@10 that the scores of cold items may cost, each measured."""
DEFAULT_COST = TrainConfig().unseen_cost
LIKENESS = (0.25, 0.5, 1.0)
"""What likeness to the history's items may count beside the model's own scores (`train.unseen_likeness`)."""
LIKENESS_RECENCIES = (1.0, 2.0, 5.0)
"""Of that likeness (`train.unseen_recency`)."""
SELECTING_SEED = 0
"""Whose question chooses these, for all seeds."""
MOST_SELECTING, MOST_TRAINED = 2_000, 5_000
"""Requests that a setting is chosen by, at most; and those for trained items that are measured, a seeded sample."""
SETTINGS = {
    # comparing each target with all of these items takes three times as long
    "amazon-beauty": (
        *("train.epochs=12", "model.max_length=50", "model.dropout=0.5", "train.batch_tokens=4096"),
        "model.loss=sampled_softmax",
    ),
    "amazon-office-text": ("train.epochs=40", "model.max_length=50", "model.dropout=0.5", "train.batch_tokens=1024"),
    "ml-100k": ("train.epochs=40", "model.max_length=200", "model.dropout=0.2", "train.batch_tokens=2048"),
}
RECENCIES = (0.0, 1.0, 2.0, 5.0, 20.0)
DEFAULT_TOWER = {"likeness": TrainConfig().unseen_likeness, "recency": TrainConfig().unseen_recency}
Measured = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One file with one seed.

    Attributes:
        kept: folder for what is made.
        inner: whether it is the question by which settings are chosen.
        shuffled: whether items have the features of others.
    """

    name: str
    data: Path
    kept: Path
    seed: int
    inner: bool = False
    shuffled: bool = False

    @cached_property
    def log(self) -> Log:
        log = FILES[self.name](self.data / self.name, self.seed).encoded(self.kept / "vectors" / f"{self.name}.npz")
        log = log.inner(self.seed) if self.inner else log
        return log.shuffled(self.seed) if self.shuffled else log

    @property
    def label(self) -> str:
        return f"{self.name}-{self.seed}" + "-inner" * self.inner + "-shuffled" * self.shuffled

    @cached_property
    def dataset(self) -> Dataset:
        folder = self.kept / "data" / self.label
        if folder.exists():
            return open_dataset(folder)
        return prepare(self.log.events, folder, items=self.log.items, time="timestamp", time_unit="s")

    @cached_property
    def split(self) -> Split:
        valid, test = (cut * 10**6 for cut in self.log.cuts)
        config = SplitConfig(protocol="time", valid_from=valid, test_from=test, request_time="none")
        return split(self.dataset.histories, config)

    @cached_property
    def cold(self) -> Bools:
        """(V + 1,) bool."""
        cold = np.concatenate([[False], np.isin(np.array(self.dataset.catalog.ids), sorted(self.log.cold))])
        assert not self.split.training(self.dataset.histories).item_counts()[cold].any()
        return cold

    def content_knn(self, settings: dict[str, Any]) -> Recommender:
        """Fitted to the items; a call costs no training."""
        catalog, kinds = self.dataset.catalog, self.dataset.manifest.item_features
        training = self.split.training(self.dataset.histories)
        items = make_items(training, catalog.tie_rank, catalog.frame, kinds)
        model = build(ContentKNN, settings, items)
        model.fit(training, self.seed)
        return model

    def trained(self, features: bool) -> SequenceModel:
        """SASRec; scores of items that it knows by features are as they were learned."""
        run = self.kept / "runs" / "-".join([self.label, "features" if features else "ids"])
        if not (run / "model").exists():
            cuts = [
                f"split.valid_from={self.split.config.valid_from}",
                f"split.test_from={self.split.config.test_from}",
            ]
            asked = [*cuts, "split.request_time=none", "train.unseen_cost=0", "train.unseen_likeness=0"]
            asked += SETTINGS[self.name]
            asked += ['model.features=["items"]', 'model.without=["text"]'] if features else []
            assert self.cold.any()  # and that training sees none of them
            data, seed = self.dataset, self.seed
            train(data, "sasrec", run, protocol="time", seed=seed, settings=asked, overwrite=True, progress=False)
        model = load_bundle(run).model
        assert isinstance(model, SequenceModel)
        return model

    def requests(self, histories: Histories) -> tuple[Part, Part]:
        """Those that ask for a cold item, and for a trained one."""
        part = self.split.valid if self.inner and not self.log.by_time else self.split.test
        target = histories.item[part.target_start]
        asked = np.ones(len(part), dtype=np.bool_)
        if self.log.asked is not None and not self.inner:
            users = self.dataset.users["user"].to_numpy()[part.user]
            asked = np.isin(users, sorted(self.log.asked)) & (part.target_end == histories.end[part.user])
        trained = self.split.training(self.dataset.histories).item_counts() > 0
        return part.select(asked & self.cold[target]), part.select(asked & trained[target])

    def measure(self, model: Recommender, selecting: bool = False, before: Measured | None = None) -> Measured:
        """Metrics of every request for a cold item, and those for a trained one in the mean, by candidates.

        Args:
            before: measured of the same model before the scores of cold items were raised, which changes no order among
                them nor among the trained.
        """
        histories = histories_for(model, self.dataset)
        cold, trained = self.requests(histories)
        every = model.items.candidates | self.cold
        if selecting:
            cold = _some(cold, MOST_SELECTING)
        found: Measured = {"user": _persons(self.dataset, cold), "items": int(every.sum())}
        found |= {"cold_items": int(self.cold.sum())} | (before or {})
        for label, candidates in (("all", every), ("cold", self.cold))[: 2 if before is None else 1]:
            ranks = of_cold(rank_targets(model, histories, cold, "exclude", candidates), self.cold)
            values = request_metrics(ranks, (10,))
            found |= {f"{label}/{metric}": [round(float(one), 5) for one in values[metric]] for metric in METRICS}
        some = _some(trained, MOST_TRAINED)
        for label, candidates in (("trained among all", every), ("trained", model.items.candidates)):
            if not selecting and not (label == "trained" and before is not None):
                values = request_metrics(rank_targets(model, histories, some, "exclude", candidates), (10,))
                found[f"{label}/ndcg@10"] = float(values["ndcg@10"].mean())
        return found


def _some(part: Part, most: int) -> Part:
    """A seeded sample of requests."""
    chosen = np.zeros(len(part), dtype=np.bool_)
    chosen[np.random.default_rng(0).permutation(len(part))[:most]] = True
    return part.select(chosen)


def _persons(dataset: Dataset, part: Part) -> list[str]:
    """Whose the requests are: several users may be one person's rows, named `PERSON NUMBER`."""
    return [name.partition(" ")[0] for name in dataset.users["user"].to_numpy()[part.user]]


def content_settings(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """What content-knn may be: every set of columns, with texts by MiniLM or by n-grams, and every recency."""
    kinds = dataset.manifest.item_features
    texts = [name for name, kind in kinds.items() if kind == "text"]
    others = [name for name in kinds if name not in texts]
    sets = [list(some) for size in range(1, len(others) + 1) for some in itertools.combinations(others, size)]
    rest = [name for name in others if not name.endswith("_vector")]
    for features, encoder in [*((some, None) for some in sets), (texts + rest, "ngrams")]:
        yield {"features": features, "encoder": encoder}


def select(case: Case, models: Sequence[str], results: Path) -> None:
    """Choose settings on the inner question: by the sum of NDCG@10 among the cold items and among all."""
    inner = Case(case.name, case.data, case.kept, case.seed, inner=True)

    def tried(model: Recommender) -> float:
        found = inner.measure(model, selecting=True)
        return float(np.mean(found["cold/ndcg@10"]) + np.mean(found["all/ndcg@10"]))

    def note(model: str, settings: Any, value: float) -> None:
        done.append({"settings": settings, "value": value})
        path.write_text(json.dumps(done, indent=1))
        print(json.dumps({"case": case.label, "model": model, "settings": settings, "value": value}), flush=True)

    for model in models:
        path = results / f"{case.label}-{model}-selected.json"
        done = json.loads(path.read_text()) if path.is_file() else []
        known = [json.dumps(one["settings"]) for one in done]
        if model == "content-knn":
            for settings in content_settings(inner.dataset):
                if all(json.dumps(settings | {"recency": recency}) in known for recency in RECENCIES):
                    continue
                fitted = inner.content_knn(settings)
                for recency in RECENCIES:
                    fitted.config = fitted.config.model_copy(update={"recency": recency})
                    note(model, settings | {"recency": recency}, tried(fitted))
        if model == "tower" and case.seed == SELECTING_SEED:
            for likeness, recency in itertools.product(LIKENESS, LIKENESS_RECENCIES):
                tower = {"likeness": likeness, "recency": recency}
                if json.dumps(tower) not in known:
                    note(model, tower, tried(finished(inner, tower, DEFAULT_COST)[0]))


def finished(case: Case, tower: dict[str, Any], cost: float) -> tuple[SequenceModel, float]:
    """A trained tower with scores of the items that it knows by features as training fits them; and how far these are
    raised."""
    model = case.trained(features=True)
    histories, valid = histories_for(model, case.dataset), case.split.valid
    if tower["likeness"]:
        frame = case.dataset.catalog.frame
        weight = fit_likeness(model, histories, valid, frame, tower["likeness"], tower["recency"])
        assert weight is not None
    shift = fit_shift(model, histories, valid, "exclude", cost)
    assert shift is not None
    assert model.featured is not None
    model.featured.raise_unseen(shift)
    return model, shift


def best(results: Path, case: Case, model: str, default: Any) -> Any:
    """The settings chosen for a model."""
    path = results / f"{case.label}-{model}-selected.json"
    tries = json.loads(path.read_text()) if path.is_file() else []
    return max(tries, key=lambda one: one["value"])["settings"] if tries else default


def run(case: Case, model: str, results: Path) -> None:
    """Measure one model on the test, once, and keep it."""
    path = results / f"{case.label}-{model}.json"
    if path.is_file():
        return
    found: Measured = {"file": case.name, "seed": case.seed, "model": model, "settings": None, "costs": {}}
    if model == "content-knn":
        found["settings"] = best(results, case, model, {})
        found["costs"]["0.0"] = case.measure(case.content_knn(found["settings"]))
    elif model == "sasrec":
        found["costs"]["0.0"] = case.measure(case.trained(features=False))
    else:
        of = Case(case.name, case.data, case.kept, case.seed, shuffled=model == "shuffled")
        found["settings"] = best(results, replace(case, seed=SELECTING_SEED), "tower", DEFAULT_TOWER)
        found["shift"] = {}
        if model == "tower-alone":
            found["settings"] = found["settings"] | {"likeness": 0.0}
        before = None
        for cost in COSTS:
            tower, found["shift"][str(cost)] = finished(of, found["settings"], cost)
            before = found["costs"][str(cost)] = of.measure(tower, before=before)
    path.write_text(json.dumps(found))
    for cost, one in found["costs"].items():
        means = {name: round(float(np.mean(value)), 4) for name, value in one.items() if "@" in name}
        print(json.dumps({"case": case.label, "model": model, "cost": cost, **means}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the files, one folder each")
    parser.add_argument("-o", "--kept", type=Path, default=KEPT)
    parser.add_argument("--results", type=Path, help="folder of what was measured; by default in that of --kept")
    parser.add_argument("--files", nargs="+", default=list(FILES), choices=FILES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--select", action="store_true", help="choose settings first")
    parser.add_argument("--encode", action="store_true", help="only encode the texts")
    parser.add_argument("--report", action="store_true", help="only write bench/COLD.md")
    asked = parser.parse_args()
    results = asked.results or asked.kept / "results"
    results.mkdir(parents=True, exist_ok=True)
    for name, seed in [] if asked.report else itertools.product(asked.files, asked.seeds):
        case = Case(name, asked.data, asked.kept, seed)
        if asked.encode:
            assert case.log.items.height
            continue
        if asked.select:
            select(case, asked.models, results)
        for model in asked.models:
            run(case, model, results)
    if not asked.encode:
        write_report(results, Path(__file__).parent / "COLD.md")


if __name__ == "__main__":
    main()
