"""What a GPU gives, beside the processor of the same machine, in one run; and that both say the same.

    python bench/gpu.py DATASET [--small DATASET] [--only agree repeat steps speed serve] [--out FILE]

`agree` trains every model for one epoch without dropout on both, scores one bundle on both, and compares; `repeat`
trains twice with one seed; `steps` times nothing but training steps; `speed` trains, evaluates and recommends; `serve`
runs the server on both. `--small` is the dataset of the first two. `--out` keeps the figures as JSON. Exits with 1
where the devices differ by more than rounding.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

import onward
from onward.bundle import load_bundle
from onward.config import apply_settings
from onward.data.dataset import open_dataset
from onward.device import reproducible
from onward.errors import OnwardError
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.threads import team
from onward.train.gradients import Gradients
from onward.train.loop import make_batches
from onward.train.make import make_model, place
from onward.train.optim import make_optimiser
from onward.train.resolve import resolve

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "onward"]
DEVICES = ("cpu", "cuda")
BATCH, LENGTH = 6400, 200
SAME = ("model.dropout=0", "model.max_length=50", "model.softmax=float32", "train.epochs=1", "train.batch_tokens=2048")
PART = ("train.stop_after=0.1",)
"""What a model does of the epoch that has a row for every event: minutes of a processor's thread otherwise."""
TRAINING = [f"train.batch_tokens={BATCH}", f"model.max_length={LENGTH}", "train.validate_every=100"]
SERVED, CLIENTS, SECONDS = 400, 16, 8.0
"""Users whose lists are compared, requests at a time, and seconds of load."""
WARM, STEPS = 20, 100
"""Training steps before the clock runs, and while it does."""


def command(device: str, *words: str, threads: int = 0) -> dict[str, Any]:
    """What a command prints as JSON on a device."""
    environment = os.environ | {"ONWARD_DEVICE": device} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    done = subprocess.run([*COMMAND, *words, "--json"], env=environment, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        found = {"error": {"message": (done.stderr or done.stdout)[-2000:]}}
    if "error" in found:
        raise RuntimeError(f"{device} {' '.join(words)}: {found['error']['message']}")
    return found


def trained(device: str, dataset: Path, model: str, out: Path, *sets: str, threads: int = 0) -> dict[str, Any]:
    """One training."""
    words = [word for one in sets for word in ("--set", one)]
    return command(
        device,
        "train",
        str(dataset),
        "-m",
        model,
        "-o",
        str(out),
        "--protocol",
        "last",
        "--overwrite",
        *words,
        threads=threads,
    )


def losses(run: Path) -> np.ndarray:
    """The losses that a training logged."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return np.array([line["loss"] for line in lines if line["kind"] == "train"])


def agree(dataset: Path, folder: Path) -> list[dict[str, Any]]:
    """Every trained model: how far loss, validation, scores and lists of the two devices are apart."""
    data = open_dataset(dataset)
    some = data.histories.select(slice(0, 256))

    def one(model: str) -> dict[str, Any]:
        started = time.perf_counter()
        same = (*SAME, *(PART if model_class(model).traits.windows == ("prefix",) else ()))
        try:
            found = {
                device: trained(device, dataset, model, folder / f"{model}-{device}", *same, threads=1)
                for device in DEVICES
            }
            bundles = [load_bundle(folder / f"{model}-cuda", torch.device(device)) for device in DEVICES]
            lists = [bundle.model.recommend(some, 10) for bundle in bundles]
            scores = [bundle.model.score(some)[:, 1:].cpu().numpy() for bundle in bundles]
        except (RuntimeError, OnwardError) as error:
            print(json.dumps({"model": model, "problem": str(error)[-1500:]}), file=sys.stderr, flush=True)
            return {"model": model, "problem": str(error)[-1500:]}
        by_device = [losses(folder / f"{model}-{device}") for device in DEVICES]
        spread = np.std(scores[0])
        row = {
            "model": model,
            "loss": float(np.abs(by_device[0] - by_device[1]).max() / by_device[0].max()),
            "validation": [found[device]["validation"]["ndcg@10"] for device in DEVICES],
            "scores": float(np.abs(scores[0] - scores[1]).max() / spread),
            "same_lists": float((lists[0].items == lists[1].items).all(1).mean()),
            "seconds": time.perf_counter() - started,
        }
        print(json.dumps(row), file=sys.stderr, flush=True)
        return row

    with ThreadPoolExecutor(14) as pool:
        return list(pool.map(one, (name for name in MODELS if model_class(name).traits.trainable)))


def repeat(dataset: Path, folder: Path) -> dict[str, bool]:
    """Whether one seed gives one result on the GPU."""

    def weights(model: str, turn: int) -> bytes:
        run = folder / f"{model}-{turn}"
        trained("cuda", dataset, model, run, "train.epochs=1", "train.batch_tokens=2048")
        return (run / "model" / "weights.safetensors").read_bytes()

    models = ("sasrec", "esasrec", "gru", "hstu", "nextitnet")
    with ThreadPoolExecutor(2 * len(models)) as pool:
        made = [[pool.submit(weights, model, turn) for turn in (1, 2)] for model in models]
        return {model: one.result() == two.result() for model, (one, two) in zip(models, made, strict=True)}


def steps(dataset: Path) -> list[dict[str, Any]]:
    """Milliseconds of a training step of every model, 64 wide, on the device that `ONWARD_DEVICE` chooses: the batch,
    its gradient and the update. The first steps, in which kernels are loaded and chosen, are left out."""
    trained = [name for name in MODELS if model_class(name).traits.trainable]
    rows = []
    for model, tokens in (("sasrec", 2048), ("sasrec", 25600), *((name, BATCH) for name in trained)):
        data = open_dataset(dataset)
        words = [f"model.name={model}", "model.width=64", f"model.max_length={LENGTH}", f"train.batch_tokens={tokens}"]
        config = resolve(data, apply_settings({}, words), model, "last", False, 0)
        made = make_model(data, config)
        assert isinstance(made.model, SequenceModel)
        device = place(made.model)
        with reproducible(device), team(1) as threads:
            batches = make_batches(made.model, made.training, config.train, 0, config.split.request_time)
            optimiser = make_optimiser(made.model, config.train)
            gradients = Gradients(made.model.train(), batches, 0, threads)
            events, begun = 0, 0.0
            for number, windows in enumerate(islice(chain.from_iterable(map(batches.epoch, count())), WARM + STEPS)):
                if number == WARM:
                    _settled(device)
                    events, begun = 0, time.perf_counter()
                events += gradients.of(windows, number)[1]
                optimiser.update(config.train.clip_norm)
            _settled(device)
            seconds = time.perf_counter() - begun
        row = {"model": model, "tokens": tokens, "ms": seconds / STEPS * 1e3, "targets_per_second": events / seconds}
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def _settled(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed(dataset: Path, folder: Path) -> list[dict[str, Any]]:
    """Training events/s (the median after the first looks), evaluation and recommendation users/s, one user."""
    rows = []
    for model, width, more in (
        ("sasrec", 64, ()),
        ("gru", 128, ()),
        ("esasrec", 256, ()),
        ("sasrec", 256, ("model.blocks=4", "train.batch_tokens=25600")),
    ):
        for device in DEVICES:
            run = folder / f"{model}-{width}-{device}"
            epochs = 2 if device == "cuda" else 1
            settings = [*TRAINING, f"model.width={width}", f"train.epochs={epochs}", *more]
            started = time.perf_counter()
            trained(device, dataset, model, run, *settings)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            rates = [line["events_per_second"] for line in lines if line["kind"] == "train"]
            row: dict[str, Any] = {"model": model, "width": width, "more": " ".join(more), "device": device}
            row |= {"events_per_second": float(np.median(rates[2:] or rates)), "wall": time.perf_counter() - started}
            row |= answering(dataset, run, device)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def answering(dataset: Path, run: Path, device: str) -> dict[str, float]:
    """Users/s of lists for everyone, and milliseconds for one user, in this process."""
    bundle, data = load_bundle(run, torch.device(device)), open_dataset(dataset)
    histories = data.histories
    bundle.model.recommend(histories.select(slice(0, 2048)), 10)
    started = time.perf_counter()
    bundle.model.recommend(histories, 10)
    everyone = len(histories) / (time.perf_counter() - started)
    alone = []
    for row in range(200):
        one = histories.select(slice(row, row + 1))
        started = time.perf_counter()
        bundle.model.recommend(one, 10)
        alone.append(time.perf_counter() - started)
    return {"users_per_second": everyone, "one_user_ms": float(np.median(alone) * 1e3)}


def serve(dataset: Path, model: Path, folder: Path) -> dict[str, Any]:
    """The same lists from a server on each device, and what each bears."""
    found: dict[str, Any] = {}
    lists: dict[str, list[list[str]]] = {}
    users = open_dataset(dataset).users["user"].to_list()
    for device in DEVICES:
        store = folder / f"{device}.db"
        command(device, "store", "import", str(dataset), "--store", str(store))
        log = (folder / f"{device}.log").open("w")
        port = "8300" if device == "cpu" else "8301"
        words = ["serve", str(model), "--store", str(store), "--port", port, "--no-page"]
        server = subprocess.Popen(
            [*COMMAND, *words], env=os.environ | {"ONWARD_DEVICE": device}, stderr=log, stdout=log
        )
        try:
            with onward.Client(f"http://127.0.0.1:{port}") as client:
                for _ in range(600):
                    if _ready(client) or server.poll() is not None:
                        break
                    time.sleep(0.1)
                if server.poll() is not None:
                    raise RuntimeError(f"the server on {device} ended: {Path(log.name).read_text()[-1500:]}")
                lists[device] = [[one.item for one in client.recommend(user, k=10).items] for user in users[:SERVED]]
            found[device] = load(f"http://127.0.0.1:{port}", users)
        finally:
            server.terminate()
            server.wait(20)
    found["same_lists"] = float(np.mean([a == b for a, b in zip(*lists.values(), strict=True)]))
    return found


def _ready(client: onward.Client) -> bool:
    try:
        return client.ready()
    except OnwardError:
        return False


def load(url: str, users: list[str]) -> dict[str, float]:
    """Lists a second and milliseconds, from several connections; the client is Python, so it is part of the cost."""

    def ask(number: int) -> list[float]:
        rng, taken = np.random.default_rng(number), []
        with onward.Client(url) as client:
            while time.perf_counter() < until:
                started = time.perf_counter()
                client.recommend(users[rng.integers(len(users))], k=10)
                taken.append(time.perf_counter() - started)
        return taken

    until = time.perf_counter() + SECONDS
    with ThreadPoolExecutor(CLIENTS) as pool:
        taken = np.concatenate([np.array(one) for one in pool.map(ask, range(CLIENTS))]) * 1e3
    median, high = np.percentile(taken, [50, 99])
    return {"lists_per_second": len(taken) / SECONDS, "median_ms": float(median), "p99_ms": float(high)}


def main() -> int:
    """Measure, print, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--only", nargs="+", default=["agree", "repeat", "steps", "speed", "serve"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    small = given.small or given.dataset
    found: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for section in given.only:
            started = time.perf_counter()
            if section == "agree":
                found[section] = agree(small, folder)
            elif section == "repeat":
                found[section] = repeat(small, folder)
            elif section == "steps":
                found[section] = steps(given.dataset)
            elif section == "speed":
                found[section] = speed(given.dataset, folder)
            else:
                model = folder / "sasrec-64-cuda"
                if not model.is_dir():
                    trained("cuda", given.dataset, "sasrec", model, *TRAINING, "model.width=64", "train.epochs=1")
                found[section] = serve(given.dataset, model, folder)
            found[f"{section}_seconds"] = time.perf_counter() - started
            print(json.dumps({section: found[section]}, indent=1), flush=True)
            if given.out:
                given.out.write_text(json.dumps(found, indent=1))
    wrong = [row for row in found.get("agree", []) if "problem" in row or row["scores"] > 1e-2 or row["loss"] > 1e-3]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
