"""Trainings over several seeds: one file a training, and paired tests of the means, over users and seeds.

{"name", "seed", "epochs", "seconds", "valid": metrics, "test": metrics, "requests": {"user", METRIC: a number each}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from onward.data.dataset import Dataset
from onward.evaluate.bootstrap import means, user_sums
from onward.evaluate.protocol import evaluate
from onward.evaluate.seeds import Block, seed_tests
from onward.train.run import Trained, train

METRIC = "ndcg@10"
SECONDS_KEPT = 45.0
"""Of a limit, what the test and the rest may take."""


def measure(
    dataset: Dataset, name: str, seed: int, settings: dict[str, Any], work: Path, out: Path, seconds: float | None
) -> None:
    """Train, test and write `out`/NAME-SEED.json.

    Args:
        settings: as in a settings file, epochs among them.
        seconds: where there is a limit, one epoch is trained first to see how many fit into it.
    """
    config = work / f"{name}-{seed}.toml"
    config.write_text("\n".join(_lines(settings)) + "\n", encoding="utf-8")
    epochs = int(settings["train"]["epochs"])
    if seconds is not None:
        first = _train(dataset, config, seed, work / f"{name}-{seed}-first", 1)
        fit = (seconds - first.seconds - SECONDS_KEPT) / first.seconds
        epochs = max(1, min(epochs, int(fit)))
        print(f"{name} {seed}: {first.seconds:.0f} s an epoch, so {epochs} epochs; {first.validation}", flush=True)
    done = _train(dataset, config, seed, work / f"{name}-{seed}", epochs)
    print(f"{name} {seed}: {done.seconds:.0f} s, best epoch {done.best_epoch}, valid {done.validation}", flush=True)
    record: dict[str, Any] = {"name": name, "seed": seed, "epochs": epochs, "best_epoch": done.best_epoch}
    record |= {"seconds": done.seconds, "valid": done.validation, "settings": settings}
    target = out / f"{name}-{seed}.json"
    target.write_text(json.dumps(record), encoding="utf-8")
    evaluate(done.folder, dataset.path, part="test")
    folder = done.folder / "evaluation" / "test"
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    requests = pl.read_parquet(folder / "requests.parquet")
    record["test"] = {metric: one["value"] for metric, one in found["metrics"].items()}
    record["requests"] = {"user": requests["user"].to_list(), METRIC: requests[METRIC].round(6).to_list()}
    target.write_text(json.dumps(record), encoding="utf-8")
    print(f"{name} {seed}: test {record['test'][METRIC]:.4f}", flush=True)


def _train(dataset: Dataset, config: Path, seed: int, run: Path, epochs: int) -> Trained:
    settings = (f"train.epochs={epochs}",)
    return train(dataset, out=run, config=config, seed=seed, settings=settings, overwrite=True, progress=False)


def _lines(settings: dict[str, Any]) -> list[str]:
    return [
        line
        for table, values in settings.items()
        for line in (f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
    ]


def report(folder: Path, names: Sequence[str], references: Sequence[str]) -> str:
    """A table in Markdown: each model's mean and deviation over its seeds, and its change from the references."""
    records = {
        name: [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-[0-9].json"))] for name in names
    }
    records = {name: [one for one in found if "requests" in one] for name, found in records.items()}
    heads = [f"change from {reference}" for reference in references]
    lines = [f"| model | seeds | epochs | valid | NDCG@10 | {' | '.join(heads)} |"]
    lines += ["|---|---:|---:|---:|---:|" + "---:|" * len(heads)]
    for name, found in records.items():
        if not found:
            continue
        values = [one["test"][METRIC] for one in found]
        valid = np.mean([one["valid"][METRIC] for one in found])
        epochs = ", ".join(str(one["epochs"]) for one in found if one["best_epoch"] is not None)
        spread = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
        cells = [name, str(len(found)), epochs, f"{valid:.4f}", f"{np.mean(values):.4f}{spread}"]
        cells += [_change(found, records[other]) if other != name and records[other] else "" for other in references]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _change(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> str:
    """The relative change of the means over seeds, and its 95% interval over users and seeds."""
    user = np.unique(one[0]["requests"]["user"], return_inverse=True)[1]
    if any(record["requests"]["user"] != one[0]["requests"]["user"] for record in [*one, *other]):
        raise SystemExit("the records are of different requests")

    def blocks(records: list[dict[str, Any]]) -> list[Block]:
        return [(user_sums(user, np.array(record["requests"][METRIC])[:, None]), means) for record in records]

    found = seed_tests(blocks(one), blocks(other))[0].difference
    base = float(np.mean([record["requests"][METRIC] for record in other]))
    return f"{found.value / base:+.1%} ({found.low / base:+.1%} to {found.high / base:+.1%})"
