"""Growth: catalogs of a thousand to ten million items, one epoch of the same number of synthetic events each.

python bench/growth.py [--events 10000000] [--items 1000 10000 ...] [--exact 10000] [--set KEY=VALUE ...]

Each training is `onward train` with the settings that Onward chooses itself, in a fresh process: speed from its own
metrics, peak memory from the kernel, quality on the validation part. Up to `--exact` items both losses are trained, the
exact and the sampled one. Writes bench/GROWTH.md and bench/growth.png, and exits with 1 when a bar is missed.

The log has something to learn: users walk through groups of 50 items, mostly staying in one or going on to the next,
and take items of a group by a Zipf law.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

HERE = Path(__file__).parent
LENGTH, GROUP = 50, 50
BAR_ITEMS, BAR_GIB, BAR_SHARE = 1_000_000, 6.0, 0.5
"""A million items train in at most 6 GiB, at no less than half the events a second of ten thousand."""

CHILD = """
import json, sys, time
from pathlib import Path
import torch
from onward.train.run import train
begin = time.perf_counter()
folder = Path(sys.argv[2])
settings = ["train.epochs=1", "model.max_length=50", "train.warmup_steps=50", *sys.argv[3:]]
done = train(sys.argv[1], "sasrec", folder, protocol="last", settings=settings, progress=False)
seconds = time.perf_counter() - begin
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({
    "catalog": json.loads((folder / "model" / "manifest.json").read_text())["items"],
    "loss": done.config.model["loss"],
    "batch": done.config.train.batch_tokens,
    "parameters": done.parameters,
    "seconds": seconds,
    "training": done.seconds,
    "gib": int(peak.split()[1]) / 2**20,
    "ndcg": done.validation["ndcg@10"],
    "threads": torch.get_num_threads(),
}))
"""


class Row(TypedDict):
    """One training."""

    items: int
    catalog: int
    loss: str
    batch: int
    parameters: int
    seconds: float
    training: float
    gib: float
    ndcg: float
    threads: int
    speed: float


def generate(path: Path, events: int, items: int) -> None:
    """Write the log as Parquet: users of 50 events each, in time order."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(items)
    users, groups = events // LENGTH, items // GROUP
    shape = (users, LENGTH)
    step = random.choice(np.array([0, 1, -1]), shape, p=[0.6, 0.3, 0.1])
    step[:, 0] = -1
    jumps = step < 0
    step[jumps] = random.integers(0, groups, int(jumps.sum()))
    group = np.cumsum(step, axis=1) % groups
    share = np.cumsum(1 / np.arange(1, GROUP + 1))
    within = np.searchsorted(share / share[-1], random.random(events // LENGTH * LENGTH))
    # a group's first events take each of its items once, so that the catalog is as large as it can be
    by_group = np.argsort(group, axis=None, kind="stable")
    begins = np.searchsorted(group.ravel()[by_group], np.arange(groups))
    place = np.arange(len(by_group)) - begins[group.ravel()[by_group]]
    within[by_group[place < GROUP]] = place[place < GROUP]
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), LENGTH),
            "item": group.ravel() * GROUP + within,
            "time": (1_600_000_000 + np.arange(LENGTH) * 3600 + random.integers(0, 3600, (users, 1))).ravel(),
        }
    )
    frame.write_parquet(path)


def measure(events: int, items: int, losses: list[str], extra: list[str]) -> list[Row]:
    """Prepare one log and train on it once for each loss."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "log.parquet", events, items)
        prepare = "import sys; from onward.data.prepare import prepare; prepare(sys.argv[1], sys.argv[2])"
        run(prepare, str(folder / "log.parquet"), str(folder / "dataset"))
        (folder / "log.parquet").unlink()
        rows = []
        for loss in losses:
            out = folder / f"run-{loss}"
            found = json.loads(run(CHILD, str(folder / "dataset"), str(out), f"model.loss={loss}", *extra))
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            speeds = [line["events_per_second"] for line in lines if line["kind"] == "train"][1:]
            rows.append(Row(items=items, speed=statistics.median(speeds), **found))
            print(show(rows[-1]), flush=True)
        return rows


def run(code: str, *arguments: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def show(row: Row) -> str:
    """A row of the table."""
    step = 1000 * row["batch"] / row["speed"]
    return (
        f"| {row['catalog']:,} | {row['loss']} | {row['parameters']:,} | {step:.1f} | {row['speed']:,.0f} "
        f"| {row['training']:,.0f} | {row['seconds']:,.0f} | {row['gib']:.2f} | {row['ndcg']:.4f} |"
    )


def bars(rows: list[Row]) -> list[tuple[str, bool]]:
    """The bars that these rows can decide, and whether they are met."""
    own = {row["items"]: row for row in rows if row["loss"] == own_loss(row["items"])}
    found = []
    if BAR_ITEMS in own:
        found.append((f"a million items in at most {BAR_GIB:g} GiB", own[BAR_ITEMS]["gib"] <= BAR_GIB))
        if 10_000 in own:
            share = own[BAR_ITEMS]["speed"] / own[10_000]["speed"]
            met = share >= BAR_SHARE
            found.append((f"a million items at {BAR_SHARE:.0%} of ten thousand's speed or more: {share:.0%}", met))
    return found


def remember(events: int, items: int, measured: list[Row]) -> list[Row]:
    """Put the rows of one size among those of the others, in .bench/growth.json."""
    path = HERE.parent / ".bench" / "growth.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.is_file() else {}
    known.setdefault(str(events), {})[str(items)] = measured
    path.write_text(json.dumps(known, indent=1))
    return [row for _, rows in sorted(known[str(events)].items(), key=lambda pair: int(pair[0])) for row in rows]


def own_loss(items: int) -> str:
    """What Onward chooses for a catalog."""
    from onward.models.objective import ObjectiveConfig

    return ObjectiveConfig().resolved(items).loss


def write(rows: list[Row], events: int) -> None:
    """The table and the plot."""
    head = (
        "| items | loss | parameters | ms a step | events/s | training s | all s | peak GiB | NDCG@10 |\n"
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    verdicts = "\n".join(f"- {bar}: {'met' if met else 'MISSED'}" for bar, met in bars(rows))
    threads = " or ".join(str(count) for count in sorted({row["threads"] for row in rows}))
    text = (
        f"# Growth of the catalog\n\nWritten by `python bench/growth.py --events {events}`: one epoch of SASRec "
        f"(64 wide, 2 blocks, length {LENGTH}) over {events:,} synthetic events, {threads} thread(s) on "
        f"{os.cpu_count()} cores. The loss of "
        "each size's first row is the one that Onward chooses. `all s` is all that the command does: opening the "
        "data, the epoch, checkpoints, validation, the bundle. NDCG@10 is on the validation part, over the whole "
        "catalog (a fixed sample of requests where the catalog is large). All sizes have as many events, of the "
        "largest catalog little more than one an item, so it compares the losses at one size, and not the sizes.\n\n"
    )
    (HERE / "GROWTH.md").write_text(text + head + "\n" + "\n".join(map(show, rows)) + "\n\n" + verdicts + "\n")
    plot(rows, HERE / "growth.png")


def plot(rows: list[Row], path: Path) -> None:
    """Speed, memory and quality against the size of the catalog."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    panel_of = {"speed": "events a second", "gib": "peak memory, GiB", "ndcg": "NDCG@10 after one epoch"}
    for panel, (key, title) in zip(panels, panel_of.items(), strict=True):
        for loss, colour in (("cross_entropy", "#d1495b"), ("sampled_softmax", "#0b6e4f")):
            mine = [(row["items"], row[key]) for row in rows if row["loss"] == loss]  # type: ignore[literal-required]
            if mine:
                panel.plot(*zip(*mine, strict=True), marker="o", color=colour, label=loss)
        panel.set(title=title, xscale="log", xlabel="items", ylim=0)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Measure every size, smallest first; writes after each. Sizes measured before with as many events stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, nargs="+", default=[10**power for power in range(3, 8)])
    parser.add_argument("--exact", type=int, default=10_000)
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    for items in given.items:
        own = own_loss(items)
        others = [loss for loss in ("cross_entropy", "sampled_softmax") if loss != own and items <= given.exact]
        measured = measure(given.events, items, [own, *others], given.set)
        rows = remember(given.events, items, measured)
        write(rows, given.events)
    return int(not all(met for _, met in bars(rows)))


if __name__ == "__main__":
    sys.exit(main())
