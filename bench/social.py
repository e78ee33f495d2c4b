"""What friends tell of users of whom little is known, on HetRec 2011 Last.fm (data of bench/social_files.py).

python bench/social.py --data FOLDER [--seeds 0 1 2 3 4] [--models ...] [-o .bench/social] [--report]

For each seed, 30% of the users are held out: five of their artists, drawn by chance, are the input and all others the
targets; the other users train in full. The number of epochs is that which validates best on 10% of the users, who train
too in the end. Models: `without`, SASRec; `links`, the same reading the links; `rewired`, the same with other friends
for everyone, as many as before; and without training loop `popularity`, `item-knn`, `user-knn`, `friends` (how many
friends had it) and `item-knn+friends`. What is measured is kept, a file a seed and model; `--report` writes SOCIAL.md
from all there is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onward.bundle import load_bundle
from onward.data.dataset import Dataset, open_dataset
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.data.split import Split, split
from onward.evaluate.bootstrap import paired_tests
from onward.evaluate.metrics import request_metrics
from onward.evaluate.ranking import rank_targets
from onward.models.base import Recommender, make_items
from onward.models.features.attach import histories_for, with_features
from onward.models.features.columns import LinksColumn
from onward.models.features.fit import FRIEND_EVENTS, FRIENDS
from onward.models.features.source import Source
from onward.models.matrix import dense, had
from onward.models.neighbours import ItemKNN, ItemKNNConfig
from onward.train.run import train
from social_files import read_events, read_links, rewired

TRAINED = ("without", "links", "rewired")
FITTED = ("popularity", "item-knn", "user-knn")
COUNTED = ("friends", "item-knn+friends")
METRICS = ("recall@10", "ndcg@10")
KNOWN, HELD_OUT = 5, 0.3
SETTINGS = (
    "model.max_length=50",
    "model.width=64",
    "model.dropout=0.3",
    "train.epochs=20",
    "train.patience=5",
)
BY_ITEMS: Mapping[str, Any] = {"similarity": "cosine", "recency": 0}
"""Settings of item-knn, whose default reads an order."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
"""Weights of friends beside item-knn; validation chooses."""
Kept = dict[str, Any]


class ItemsAndFriends(ItemKNN):
    """The scores of item-knn and how many friends had an item, each divided by its largest.

    Attributes:
        share: how much friends count beside item-knn; None: they alone do, and popularity decides ties.
    """

    name = "item-knn+friends"
    share: float | None = None

    def fit(self, training: Histories, seed: int = 0) -> None:
        """As item-knn; friends are known by their training events."""
        super().fit(training, seed)
        self.users = had(training)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32."""
        assert histories.friends is not None
        theirs = torch.stack([dense(self.users[row[row >= 0]]).sum(0) for row in histories.friends.rows])
        if self.share is None:
            return theirs + torch.from_numpy(self.items.train_counts / (1 + self.items.train_counts.max())).float()
        own, theirs = (
            part / part.amax(1, keepdim=True).clamp(min=1e-12) for part in (super().score_histories(histories), theirs)
        )
        return own + self.share * theirs


@dataclass(frozen=True)
class Bench:
    """One seed: who is held out, what is known of them, what the weights begin with."""

    data: Path
    kept: Path
    seed: int
    extra: tuple[str, ...]

    def dataset(self, other_friends: bool) -> Dataset:
        folder = self.kept / f"data-{self.seed}{'-rewired' if other_friends else ''}"
        if folder.exists():
            return open_dataset(folder)
        links = read_links(self.data)
        if other_friends:
            links = rewired(links, self.seed)
        return prepare(read_events(self.data, self.seed), folder, links=links)

    def split_settings(self) -> list[str]:
        return [f"split.test_share={HELD_OUT}", f"split.known_events={KNOWN}", f"split.seed={self.seed}"]

    def measure(self, model: str) -> Kept:
        """Metrics of each held-out user."""
        data = self.dataset(model == "rewired")
        facts: Kept = {"seed": self.seed, "model": model}
        if model in COUNTED:
            made, histories, done = self._counted(data, model, facts)
        else:
            name = "sasrec" if model in TRAINED else model
            more = []
            if model in TRAINED:
                facts["epochs"] = self._epochs(data, name, model)
                more = [f"train.epochs={facts['epochs']}"]
            done = self._train(data, name, model, more, refit=True)
            histories = histories_for(done, data)
            made = split(histories, load_bundle(self._run(model, True)).manifest.split)
        values = request_metrics(rank_targets(done, histories, made.test, "exclude"), (10,))
        users = data.users["user"].to_numpy()[made.test.user]
        return facts | {"users": users.tolist()} | {name: values[name].round(6).tolist() for name in METRICS}

    def _run(self, model: str, refit: bool) -> Path:
        return self.kept / f"run-{self.seed}-{model}{'' if refit else '-valid'}"

    def _train(self, data: Dataset, name: str, model: str, more: list[str], refit: bool) -> Recommender:
        settings = self.split_settings()
        if model in TRAINED:
            settings += [*SETTINGS, *(['model.features=["links"]'] if model != "without" else []), *self.extra]
        elif name == "item-knn":
            settings += [f"model.{key}={value}" for key, value in BY_ITEMS.items()]
        run = self._run(model, refit)
        train(
            data,
            name,
            run,
            protocol="users",
            refit=refit,
            seed=self.seed,
            settings=[*settings, *more],
            overwrite=True,
            progress=False,
        )
        return load_bundle(run).model

    def _epochs(self, data: Dataset, name: str, model: str) -> int:
        self._train(data, name, model, [], refit=False)
        training = load_bundle(self._run(model, False)).manifest.training
        return max(1, round(training["best_epoch"]))

    def _counted(self, data: Dataset, model: str, facts: Kept) -> tuple[Split, Histories, Recommender]:
        """Items of friends, alone or beside item-knn; validation chooses how much they count."""
        column = LinksColumn(owner="users", name="links", key="links", friends=10**6, events=FRIEND_EVENTS)
        histories = with_features(data.histories, [column], Source.of(data))
        config = load_bundle(self._run("item-knn", True)).manifest.split
        if model == "friends":
            made, fitted = self._fitted(data, histories, config)
            return made, histories, fitted
        made, fitted = self._fitted(data, histories, config.model_copy(update={"refit": False}))
        found = {}
        for share in SHARES:
            fitted.share = share
            ranks = rank_targets(fitted, histories, made.valid, "exclude")
            found[share] = float(request_metrics(ranks, (10,))["recall@10"].mean())
        made, fitted = self._fitted(data, histories, config)
        fitted.share = facts["share"] = max(found, key=lambda share: found[share])
        return made, histories, fitted

    @staticmethod
    def _fitted(data: Dataset, histories: Histories, config: Any) -> tuple[Split, ItemsAndFriends]:
        made = split(histories, config)
        training = made.training(histories)
        fitted = ItemsAndFriends(ItemKNNConfig.parse(BY_ITEMS), make_items(training, data.catalog.tie_rank))
        fitted.fit(training)
        return made, fitted


def read(kept: Path) -> dict[str, dict[int, Kept]]:
    """Model -> seed -> what was measured."""
    found: dict[str, dict[int, Kept]] = {}
    for file in sorted(kept.glob("measured-*.json")):
        one = json.loads(file.read_text())
        found.setdefault(one["model"], {})[one["seed"]] = one
    return found


def pooled(one: Mapping[int, Kept], other: Mapping[int, Kept], metric: str) -> str:
    """The mean difference over the requests of all seeds that both have; the interval resamples users."""
    seeds = sorted(one.keys() & other.keys())
    assert all(one[seed]["users"] == other[seed]["users"] for seed in seeds)
    users = np.concatenate([one[seed]["users"] for seed in seeds])
    gap = np.concatenate([np.subtract(one[seed][metric], other[seed][metric]) for seed in seeds])
    test = paired_tests(np.unique(users, return_inverse=True)[1], gap[:, None])[0].difference
    return f"{test.value:+.4f} [{test.low:+.4f}, {test.high:+.4f}]"


def report(found: Mapping[str, Mapping[int, Kept]]) -> str:
    """Markdown: means and deviations over seeds, and the differences that the bar asks for."""
    seeds = sorted({seed for one in found.values() for seed in one})
    lines = [
        "# What friends tell",
        "",
        "Written by `python bench/social.py --report`, whose first lines say what is done. HetRec 2011 Last.fm: 1,892 "
        "users, 17,632 artists, 12,717 friendships. Mean ± deviation over the seeds "
        f"{', '.join(map(str, seeds))}; differences are over the held-out users of all seeds, with 95% intervals over "
        f"users. SASRec with {', '.join(SETTINGS)}; up to {FRIENDS} friends, {FRIEND_EVENTS} artists of each.",
        "",
        "| model | seeds | recall@10 | ndcg@10 | recall@10 less that of `without` |",
        "|---|---|---|---|---|",
    ]
    for model in (*TRAINED, *FITTED, *COUNTED):
        if model not in found:
            continue
        one = found[model]
        cells = [
            f"{np.mean(means):.4f} ± {np.std(means):.4f}"
            for means in ([float(np.mean(kept[metric])) for kept in one.values()] for metric in METRICS)
        ]
        against = found.get("without", {})
        gap = pooled(one, against, "recall@10") if model != "without" and against else ""
        lines.append(f"| `{model}` | {len(one)} | {' | '.join(cells)} | {gap} |")
    pairs = [("links", "rewired"), ("item-knn+friends", "item-knn"), ("links", "item-knn+friends")]
    lines += [""]
    for one, other in pairs:
        if one in found and other in found:
            lines.append(f"- `{one}` less `{other}`, recall@10: {pooled(found[one], found[other], 'recall@10')}")
    for model in ("links", "rewired"):
        if model in found and "without" in found:
            each = [
                f"{seed}: {pooled({seed: found[model][seed]}, found['without'], 'recall@10')}" for seed in found[model]
            ]
            lines.append(f"- `{model}` less `without`, recall@10, seed by seed: {'; '.join(each)}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("-o", "--kept", type=Path, default=Path(".bench/social"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--models", nargs="+", default=[*TRAINED, *FITTED, *COUNTED])
    parser.add_argument("--set", nargs="+", default=[], dest="extra", help="further settings of SASRec")
    parser.add_argument("--report", action="store_true", help="write SOCIAL.md from what is kept, and measure nothing")
    asked = parser.parse_args()
    if asked.report:
        (Path(__file__).parent / "SOCIAL.md").write_text(report(read(asked.kept)), encoding="utf-8")
        return
    if asked.data is None:
        parser.error("--data FOLDER: the folder with user_artists.dat.gz and user_friends.dat")
    asked.kept.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        bench = Bench(asked.data, asked.kept, seed, tuple(asked.extra))
        for model in asked.models:
            measured = bench.measure(model)
            (asked.kept / f"measured-{seed}-{model}.json").write_text(json.dumps(measured))
            means = {metric: float(np.mean(measured[metric])) for metric in METRICS}
            told = {key: value for key, value in measured.items() if key in ("seed", "model", "epochs", "share")}
            print(json.dumps(told | means), flush=True)


if __name__ == "__main__":
    main()
