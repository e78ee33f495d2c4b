"""The gate of `onward update` on generated worlds: how often it lets good and bad updates through.

    python bench/update_gate.py [--seeds 20] [--first 0] [--drift 0.1] [--json FILE]

A world (`onward.data.synthetic.drifting_events`) is a log of walks on items whose followers change, for a share of
them, at one instant. The current model is trained on what came before. The newest third of what came after is held
out, and candidates differ in what they learned from the rest:

    good          the update as it is
    shuffled      an update whose events have the items of each other, all that it learns from
    shuffled-new  the same of the new events alone, while what is replayed is sound
    tenth         trained from nothing on the histories of a tenth of the users
    tenth-warm    an update of the new events of a tenth of the users: not a bad one, for comparison
    same          an update in a world without drift: nothing to win, nothing to lose

Bars: of 20 worlds good passes at least 15 times where its true effect is +5%, shuffled and tenth never. The true effect
of good is the mean over the worlds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from onward.bundle import Bundle, load_bundle
from onward.config import SplitConfig
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.data.synthetic import drift_instant, drifting_events
from onward.evaluate.gate import Gate, gate
from onward.train.go_on import go_on
from onward.train.run import train

USERS, ITEMS, LENGTH, LATER = 400, 60, 24, 18
HELD_OUT = 6
"""Events of each user that the gate predicts."""
NOISE = 0.2
MODEL = "gru"
SETTINGS = (
    "model.width=32",
    "model.dropout=0.0",
    "model.max_length=50",
    "train.epochs=10",
    "train.learning_rate=0.01",
    "train.warmup_steps=10",
    "train.item_optimiser=same",  # row-wise Adagrad learns these worlds from a tenth of the users: no bad update then
    "train.batch_tokens=1024",
)
KINDS = ("good", "shuffled", "shuffled-new", "tenth", "tenth-warm", "same")
NEVER = ("shuffled", "tenth")
DRIFT = 0.1


@dataclass(frozen=True)
class World:
    """A log, the instants that divide it (microseconds), and the model that knows the first part."""

    log: pl.DataFrame
    data: Dataset
    since: int
    held_out: int
    current: Bundle


def make_world(folder: Path, drift: float, seed: int) -> World:
    """Prepare a log and train the current model on what came before the drift."""
    log = drifting_events(USERS, ITEMS, LENGTH, LATER, drift, NOISE, seed)
    since = drift_instant(USERS, LENGTH)
    held_out = drift_instant(USERS, LENGTH + LATER - HELD_OUT)
    first = prepare(log.filter(pl.col("time") < since), folder / "first")
    train(first, MODEL, folder / "current", protocol="all", seed=seed, settings=SETTINGS, progress=False)
    data = prepare(log, folder / "data")
    return World(log, data, since * 1_000_000, held_out * 1_000_000, load_bundle(folder / "current"))


def protocol(world: World) -> SplitConfig:
    """What comes before the held-out events trains."""
    return SplitConfig(protocol="time", valid_from=world.since, test_from=world.held_out, refit=True)


def shuffled(world: World, since: int, seed: int) -> pl.DataFrame:
    """The log in which events from `since` on, up to those held out, have each other's items."""
    random = np.random.default_rng([seed, 1])
    time, item = world.log["time"].to_numpy() * 1_000_000, world.log["item"].to_numpy().copy()
    chosen = np.flatnonzero((time >= since) & (time < world.held_out))
    item[chosen] = item[random.permutation(chosen)]
    return world.log.with_columns(item=pl.Series(item))


def tenth(world: World, seed: int) -> pl.Series:
    """Which rows of the log are of a tenth of the users."""
    users = np.random.default_rng([seed, 2]).permutation(USERS)[: USERS // 10]
    return world.log["user"].is_in(users.tolist())


def candidate(kind: str, world: World, folder: Path, seed: int) -> Bundle:
    """An update, or what is wrong with it."""
    log, data = world.log, world.data
    if kind.startswith("shuffled"):
        since = world.since if kind == "shuffled-new" else 0
        data = prepare(shuffled(world, since, seed), folder / "shuffled")
    if kind == "tenth":
        data = prepare(log.filter(tenth(world, seed) & (pl.col("time") * 1_000_000 < world.held_out)), folder / "part")
        train(data, MODEL, folder / "run", protocol="all", seed=seed, settings=SETTINGS, progress=False)
        return load_bundle(folder / "run")
    if kind == "tenth-warm":
        later = (pl.col("time") * 1_000_000 >= world.since) & (pl.col("time") * 1_000_000 < world.held_out)
        data = prepare(log.filter(tenth(world, seed) | ~later), folder / "part")
    go_on(world.current, data, folder / "run", world.since, protocol=protocol(world), seed=seed, progress=False)
    return load_bundle(folder / "run")


def verdict(kind: str, seed: int, drift: float = DRIFT, folder: Path | None = None) -> Gate:
    """What the gate says of one kind of update in the world of a seed."""
    return verdicts((kind,), seed, drift, folder)[kind]


def verdicts(kinds: tuple[str, ...], seed: int, drift: float = DRIFT, folder: Path | None = None) -> dict[str, Gate]:
    """What the gate says of some kinds of updates in the world of a seed; `same` has a world of its own."""
    found: dict[str, Gate] = {}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for has_drift, some in ((True, [kind for kind in kinds if kind != "same"]), (False, ["same"])):
            wanted = [kind for kind in some if kind in kinds]
            if not wanted:
                continue
            own = Path(place) / f"world-{has_drift}"
            world = make_world(own, drift if has_drift else 0.0, seed)
            asked = split(world.data.histories, protocol(world)).test
            for kind in wanted:
                made = candidate(kind, world, own / kind, seed)
                found[kind] = gate(world.current, made, world.data, asked, seed=seed)
    return found


def effect(gate: Gate) -> float:
    """Difference as a share of the current NDCG@10."""
    return gate.difference.value / gate.current["ndcg@10"].value


def main() -> int:
    """Print what passed of each kind; 1 where a bar isn't met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--drift", type=float, default=DRIFT)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    kinds, rows = tuple(given.kinds), []
    for seed in range(given.first, given.first + given.seeds):
        for kind, said in verdicts(kinds, seed, given.drift).items():
            width = (said.difference.high - said.difference.low) / 2 / said.current["ndcg@10"].value
            rows.append((kind, seed, effect(said), width, said.passed))
            print(
                f"seed {seed:2d}  {kind:12s}  effect {effect(said):+.1%} +-{width:.1%}  passed: {said.passed}",
                flush=True,
            )
            if given.json:
                given.json.write_text(json.dumps(rows), encoding="utf-8")
    print(f"\n| update | passed of {given.seeds} | mean effect | least | most | half of the interval |")
    print("|---|---|---|---|---|---|")
    failed = False
    for kind in kinds:
        effects = [row[2] for row in rows if row[0] == kind]
        widths, passed = [row[3] for row in rows if row[0] == kind], sum(row[4] for row in rows if row[0] == kind)
        ends = f"{np.mean(effects):+.1%} | {min(effects):+.1%} | {max(effects):+.1%} | {np.mean(widths):.1%}"
        print(f"| {kind} | {passed} | {ends} |")
        failed |= (kind in NEVER and passed > 0) or (kind == "good" and passed < 0.75 * given.seeds)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
