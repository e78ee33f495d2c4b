"""One user in process: milliseconds of a list for one history, computed anew each time, against a bar.

    python bench/one_user.py [--model BUNDLE] [--events 50] [--requests 1000]

SASRec 64 wide, 2 blocks, length 200 over 3,416 items (the catalog of ml-1m), seen excluded, ten items, one thread; by
default with random weights, which cost what trained ones do. `--model`: a bundle exported with `--onnx`. All ways take
turns, 20 requests each, all with histories that were never asked before. What is compared with the bar is processor
time, which other work on the machine disturbs less. The reference, `bare torch`, is the model's own layers and the
product with the item table on tensors that are ready, without histories, masks or lists.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

import onward
from onward.bundle import Bundle, load_bundle, write_bundle
from onward.config import RunConfig
from onward.data.prepare import prepare
from onward.data.sequences import Histories
from onward.models import compiled
from onward.models.base import build, make_items
from onward.models.onnx_export import export_encoder
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.models.windows import newest_window
from onward.serve.lists.engine import Engine
from onward.serve.lists.requests import HistoryItem, Request
from onward.serve.models.folder import load_model
from onward.serve.settings import ServeConfig
from onward.serve.store.protocol import open_store

ITEMS, LENGTH, WIDTH, K = 3_416, 200, 64, 10
BAR_MS = 0.40
BARE = "bare torch"
TURN, WARM = 20, 3
"""Requests of one way before the next one's turn, and those at its beginning that aren't counted."""
Way = Callable[[list[str], Histories], object]


def make_bundle(folder: Path) -> Path:
    """A SASRec with random weights over a generated log, with its graph."""
    random = np.random.default_rng(0)
    log = pl.DataFrame({"user": np.arange(ITEMS * 3) % 500, "item": np.tile(random.permutation(ITEMS), 3)})
    data = prepare(log, folder / "dataset")
    torch.manual_seed(0)
    items = make_items(data.histories, data.catalog.tie_rank)
    model = build(model_class("sasrec"), {"width": WIDTH, "max_length": LENGTH}, items)
    assert isinstance(model, SequenceModel)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zeros would be left out of the graph
            torch.nn.init.normal_(parameter, std=0.02)
    config = RunConfig(dataset=data.manifest.hash, model={"name": "sasrec", **model.config.model_dump()})
    plain = write_bundle(folder / "plain", model, data.catalog, config, data.manifest, {"seconds": 0.0})
    return onward.export(plain, folder / "model", encoder=export_encoder(model, grouped=False))


def ways(path: Path, store: Path) -> dict[str, Way]:
    """What is measured: name to (ids of the history, the same as a history) -> anything."""
    own, by_onnx = load_bundle(path), load_bundle(path, onnx=True)
    settings = ServeConfig()
    engine = Engine(load_model("it", path, settings), open_store(str(store)), settings)

    def of(bundle: Bundle) -> Way:
        return lambda ids, history: bundle.model.recommend(history, K)

    def serve(ids: list[str], history: Histories) -> object:
        return engine.recommend([Request(history=tuple(map(HistoryItem, ids)), k=K)])

    return {
        BARE: _by_torch(_bare(own)),
        "model.recommend, torch": _by_torch(of(own)),
        "model.recommend, ONNX Runtime": of(by_onnx),
        "model.recommend": of(own),
        "onward.recommend": lambda ids, history: onward.recommend(own, ids, k=K, seen="exclude"),
        "the server's engine": serve,
    }


def _by_torch(way: Way) -> Way:
    """The same where nothing is compiled."""

    def answer(ids: list[str], history: Histories) -> object:
        built, compiled.is_built = compiled.is_built, lambda: False
        try:
            return way(ids, history)
        finally:
            compiled.is_built = built

    return answer


def _bare(bundle: Bundle) -> Way:
    model = bundle.model
    assert isinstance(model, SequenceModel)
    ready: dict[int, tuple[object, ...]] = {}

    def encode(ids: list[str], history: Histories) -> object:
        if len(ids) not in ready:
            ready[len(ids)] = _ready(model, history)
        batch, places = ready[len(ids)]
        with torch.inference_mode():
            return F.linear(model.answer_states(batch, places), *model.output_table())  # type: ignore[arg-type]

    return encode


def _ready(model: SequenceModel, history: Histories) -> tuple[object, object]:
    batch = newest_window(history, model.config.max_length, model.traits)
    return batch, batch.lengths - 1


def measure(ways: dict[str, Way], ids: list[str], events: int, requests: int) -> dict[str, np.ndarray]:
    """Way to (requests, 2) milliseconds of each request: of the processor, and on the wall."""
    random = np.random.default_rng(1)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(-1, -(-requests // (TURN - WARM))):  # the first turn of each is for the caches
        for name, way in ways.items():
            chosen = [random.choice(len(ids), events, replace=False) for _ in range(TURN)]
            asked = [([ids[row] for row in one], Histories.from_lists([one + 1], len(ids))) for one in chosen]
            ms = [_milliseconds(way, *one) for one in asked]
            taken[name] += ms[WARM:] if turn >= 0 else []
    return {name: np.array(ms) for name, ms in taken.items()}


def _milliseconds(way: Way, ids: list[str], history: Histories) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    way(ids, history)
    return 1e3 * (time.process_time() - processor), 1e3 * (time.perf_counter() - wall)


def main() -> int:
    """Print the table; returns 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="bundle with encoder.onnx")
    parser.add_argument("--events", type=int, default=50, help="of each history")
    parser.add_argument("--requests", type=int, default=1_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = given.model or make_bundle(Path(folder))
        found = ways(path, Path(folder) / "events.db")
        taken = measure(found, load_bundle(path).catalog.ids, given.events, given.requests)
    print(f"{'':34} processor ms: median (least)   wall ms: median   / bare torch")
    bare = np.median(taken[BARE][:, 0])
    for name, ms in taken.items():
        middle = np.median(ms, axis=0)
        print(f"{name:34} {middle[0]:8.3f} ({ms[:, 0].min():.3f}) {middle[1]:24.3f} {middle[0] / bare:13.2f}")
    best = min(np.median(ms[:, 0]) for name, ms in taken.items() if name.startswith("model."))
    print(f"one user: {best:.3f} ms   bar {BAR_MS} ms   {'TOO SLOW' if best > BAR_MS else 'ok'}")
    return int(best > BAR_MS)


if __name__ == "__main__":
    sys.exit(main())
