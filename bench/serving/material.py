"""What the measurements are made with: models, stores full of events. Made once, kept in .bench/serving/."""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.servers import run

FOLDER = Path(__file__).parents[2] / ".bench" / "serving"


@dataclass(frozen=True)
class Material:
    """A bundle, a store with events of some of its users, and their ids.

    Attributes:
        name: of the data.
        bundle: with an ONNX graph, if that could be made.
        store: SQLite file, to be copied before use.
        users: ids of users with events in the store.
        items: ids of the catalog.
        events: in the store.
    """

    name: str
    bundle: Path
    store: Path
    users: list[str]
    items: list[str]
    events: int

    def users_file(self) -> Path:
        """Ids, one a line, for wrk."""
        path = self.store.with_suffix(".users")
        path.write_text("\n".join(self.users) + "\n")
        return path

    def fresh_store(self, folder: Path) -> Path:
        """A copy to write into."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.db*"):
            old.unlink()
        return Path(shutil.copyfile(self.store, folder / "events.db"))


def given(model: Path | None, dataset: Path | None, users: int) -> Material:
    """The model and data of the command line, or MovieLens-100K and a SASRec of two epochs on it."""
    if (model is None) != (dataset is None):
        sys.exit("--model and --data go together")
    if model is None or dataset is None:
        from onward.data.datasets import cached_dataset

        source = cached_dataset("ml-100k")
        if source is None:
            sys.exit("give --model RUN --data DATASET, or: onward data get ml-100k")
        dataset, model = FOLDER / "ml-100k" / "dataset", FOLDER / "ml-100k" / "run"
        if not dataset.is_dir():
            run("prepare", str(source), "-o", str(dataset), "--json")
        _train(dataset, model, 200)
    return _assemble(model, dataset, users)


def synthetic(items: int, events: int, users: int) -> Material:
    """A SASRec of one epoch over a generated log of a catalog of some size (`bench/growth.py`)."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from growth import generate

    folder = FOLDER / f"items-{items}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dataset").is_dir():
        generate(folder / "log.parquet", events, items)
        run("prepare", str(folder / "log.parquet"), "-o", str(folder / "dataset"), "--json")
        (folder / "log.parquet").unlink()
    _train(folder / "dataset", folder / "run", 50)
    return _assemble(folder / "run", folder / "dataset", users)


def _train(dataset: Path, out: Path, length: int) -> None:
    if (out / "model" / "manifest.json").is_file():
        return
    shutil.rmtree(out, ignore_errors=True)
    epochs = ["--set", "train.epochs=1", "--set", f"model.max_length={length}", "--set", "train.warmup_steps=50"]
    run("train", str(dataset), "--model", "sasrec", "-o", str(out), "--protocol", "last", *epochs, "--json")


def _assemble(model: Path, dataset: Path, users: int) -> Material:
    from onward.bundle import load_bundle
    from onward.data.dataset import open_dataset

    data, bundle = open_dataset(dataset), load_bundle(model)
    name = f"{data.manifest.hash[:8]}-{bundle.manifest.files['weights.safetensors'][:8]}"
    exported, store = FOLDER / "models" / name, FOLDER / "stores" / f"{data.manifest.hash[:8]}-{users}.db"
    shutil.rmtree(exported, ignore_errors=True)  # the graph may be one of an earlier version
    exported.parent.mkdir(parents=True, exist_ok=True)
    run("export", str(model), "-o", str(exported), "--onnx", "--json")
    chosen = np.sort(np.random.default_rng(0).permutation(len(data.histories))[:users])
    if not store.is_file():
        _fill(store, data, chosen)
    ids = data.users["user"].to_list()
    events = int(data.histories.select(chosen).n_events)
    return Material(model.name, exported, store, [ids[row] for row in chosen], bundle.catalog.ids, events)


def _fill(path: Path, data: object, chosen: np.ndarray) -> None:
    """All events of some users, in the order of time."""
    from onward.data.dataset import Dataset
    from onward.serve.store.importing import CHUNK, DatasetEvents
    from onward.serve.store.protocol import open_store

    assert isinstance(data, Dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    make = DatasetEvents(data)
    rows, positions = data.histories.select(chosen).positions()
    time = data.histories.time
    order = np.arange(len(rows)) if time is None else np.argsort(time[positions], kind="stable")
    with closing(open_store(str(unfinished))) as store:
        for first in range(0, len(order), CHUNK):
            some = order[first : first + CHUNK]
            store.append(make(positions[some], chosen[rows[some]]))
    unfinished.rename(path)
