"""A comparison small enough to build in a second, with everything that a report can show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from evaluation_helpers import write_dataset, write_run

from onward.evaluate.compare import Comparison, compare

V = 20
EVIL = "<img src=x onerror=alert(1)>&'\""
"""A folder name that would run as code if the page took it for HTML."""


def make_runs(
    folder: Path, protocol: str = "last", names: tuple[str, ...] = ("popularity", "markov", "item-knn")
) -> list[str]:
    """Run folders of static models; the second also has the learning curve of a trained one. Paths are relative."""
    generator = np.random.default_rng(0)
    lists = [((generator.integers(0, V) + np.arange(generator.integers(4, 12))) % V + 1).tolist() for _ in range(60)]
    items = pl.DataFrame(
        {
            "item": [f"i{i:03}" for i in range(1, V + 1)],
            "title": [f"Item {i}" for i in range(1, V + 1)],
            "genres": [["even" if i % 2 else "odd", f"by{i % 5}"] for i in range(1, V + 1)],
        }
    )
    dataset = write_dataset(folder / f"log-{protocol}", lists, V, items=items)
    paths = []
    for number, name in enumerate(names):
        run = write_run(folder / protocol / name, dataset, name, protocol=protocol)
        lines = [{"kind": "validation", "step": 1, "epoch": 1.0, "seconds": 0.5, "ndcg@10": 0.25 + number / 20}]
        if number == 1:
            training = [{"kind": "train", "step": 9, "epoch": 1.0, "seconds": 1.0, "events_per_second": 1234.0}]
            lines = [
                *training,
                *({**lines[0], "epoch": e, "seconds": 2.0 * e, "ndcg@10": e / 10} for e in (1.0, 2.0, 3.0)),
            ]
            _trained(run, best_epoch=2.0)
        (run / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
        paths.append(str(run))
    return paths


def make_comparison(folder: Path, protocol: str = "last", audit: bool = True) -> Comparison:
    return compare(make_runs(folder, protocol), audit=audit)


def rated_comparison(folder: Path) -> Comparison:
    """Two models of interest, each event's value being the better the higher the item's number."""
    rng = np.random.default_rng(0)
    lists = [(rng.permutation(V)[:10] + 1).tolist() for _ in range(40)]
    flat = np.array([item for one in lists for item in one])
    values = np.clip(np.round(1 + 4 * flat / V + rng.normal(0, 0.7, len(flat))), 1, 5).astype(np.float32)
    dataset = write_dataset(folder / "rated", lists, V, value=values)
    names = ("item-mean", "global-mean")
    return compare(
        [write_run(folder / "runs" / name, dataset, name, protocol="last", last_share=0.3) for name in names]
    )


def evil_comparison(folder: Path) -> Comparison:
    """Two runs of one model, so that their folders' names are their labels."""
    first, second, _ = make_runs(folder)
    copies = [Path(first).with_name(EVIL), Path(first).with_name("plain")]
    for copy in copies:
        shutil.copytree(second, copy)
    return compare(copies)


def _trained(run: Path, best_epoch: float) -> None:
    """Say in the manifest that the training kept this epoch."""
    file = run / "model" / "manifest.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    values["training"] |= {"best_epoch": best_epoch, "seconds": 75.0}
    file.write_text(json.dumps(values), encoding="utf-8")
