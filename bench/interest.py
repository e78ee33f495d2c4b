"""The table of interest on MovieLens-100K: means, biased matrix factorisation and sequence models, on the same pairs.

    python bench/interest.py FOLDER DATASET [seed]     trains what is missing in FOLDER, and prints the table
    python bench/interest.py --random RATINGS.inter     matrix factorisation on five random folds, as it is published

DATASET is ml-100k, prepared. Settings are those of recipes/interest/: `ml-100k.toml`, and for the encoders alone,
without what past values say in closed form, `ml-100k-encoder.toml`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from onward.data.sequences import Histories
from onward.evaluate.compare import compare
from onward.models.base import build, make_items
from onward.models.biased_mf import BiasedMF
from onward.train.run import train

STATIC = ("global-mean", "user-mean", "item-mean", "biased-mf")
SEQUENCE = ("lstm", "gru", "sasrec")
METRICS = ("value_rmse", "value_mae", "auc", "f1", "ece")
RECIPES = Path(__file__).parent.parent / "recipes/interest"
BCE = ("model.loss=interest", "model.interest=bce")
SPLIT = ("split.last_share=0.2",)
TUNED = {
    "biased-mf": (
        "model.factors=40",
        "model.frequency_power=0.4",
        "model.regularization=0.5",
        "model.bias_regularization=0.5",
    )
}
"""What did best on the validation part, of some twenty settings."""
FOLDS = 5


def table(folder: Path, dataset: Path, seed: int) -> str:
    """Markdown, a row a model, and the paired difference of each from matrix factorisation."""
    made_by: dict[str, Callable[[Path], object]] = {}
    for name in STATIC:
        settings = (*SPLIT, *TUNED.get(name, ()))
        made_by[name] = partial(train, dataset, name, protocol="last", settings=settings, seed=seed, overwrite=True)
    encoder, whole = RECIPES / "ml-100k-encoder.toml", RECIPES / "ml-100k.toml"
    for name in SEQUENCE:
        made_by[f"{name}-encoder"] = partial(train, dataset, name, config=encoder, seed=seed, overwrite=True)
        made_by[name] = partial(train, dataset, name, config=whole, seed=seed, overwrite=True)
    made_by["gru-bce"] = partial(train, dataset, "gru", config=whole, settings=BCE, seed=seed, overwrite=True)
    runs = []
    for name, make in made_by.items():
        runs.append(folder / f"{name}-{seed}")
        if not (runs[-1] / "model").is_dir():
            make(runs[-1])
    made = compare(runs, baseline=str(folder / f"biased-mf-{seed}"), metric="value_rmse")
    lines = [
        "| model | RMSE, stars | MAE, stars | AUC, 4 stars | F1 | calibration error | RMSE less that of biased-mf |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for row in made.rows:
        values = [f"{row.evaluation.metrics[name].value:.4f}" for name in METRICS]
        test = made.test(row.label, "value_rmse")
        gap = "" if test is None else "{:+.4f} ({:+.4f} to {:+.4f})".format(*test.difference.as_dict().values())
        lines.append(f"| {row.label} | {' | '.join(values)} | {gap} |")
    return "\n".join(lines)


def random_folds(file: Path) -> list[float]:
    """RMSE in stars on each of five random folds, the user's bias and factors from the training ratings alone."""
    ratings = pl.read_csv(file, separator="\t")
    user, item, value = (ratings[name].to_numpy() for name in ratings.columns[:3])
    user, item = (np.unique(ids, return_inverse=True)[1] for ids in (user, item))
    fold = np.random.default_rng(0).permutation(len(user)) % FOLDS
    found = []
    for number in range(FOLDS):
        kept = np.flatnonzero(fold != number)
        kept = kept[np.argsort(user[kept], kind="stable")]
        bounds = np.searchsorted(user[kept], np.arange(user.max() + 2))
        columns = {"item": (item[kept] + 1).astype(np.int32), "value": value[kept].astype(np.float32)}
        training = Histories(columns, bounds[:-1], bounds[1:], int(item.max()) + 1)
        model = build(BiasedMF, {}, make_items(training, np.arange(item.max() + 2, dtype=np.int32)))
        model.fit(training)
        asked = fold == number
        predicted = model.interest(replace(training).select(user[asked]), item[asked] + 1).numpy()
        found.append(float(np.sqrt(np.mean((1 + 4 * predicted - value[asked]) ** 2))))
    return found


if __name__ == "__main__":
    if sys.argv[1] == "--random":
        folds = random_folds(Path(sys.argv[2]))
        print(f"biased-mf, five random folds: RMSE {np.mean(folds):.4f} ({', '.join(f'{one:.4f}' for one in folds)})")
    else:
        print(table(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
