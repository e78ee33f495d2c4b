"""A page such as bench/RESULTS.md from the records of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import settings
from bars import bars
from records import Record, Records

DISTRIBUTIONS = {"replay": "replay-rec"}
"""Environments whose distribution has another name."""

HOW = """\
## What was counted

- One process a library, in its own environment with pinned packages (`bench/peers/requirements/`), on all cores. All
  are alive at once and take turns: in a round each trains for {seconds:g} s while the others wait, then the next round
  begins; {rounds} rounds, of which the table shows the median and, in brackets, the extremes. The first batches after a
  pause are not counted.
- **Events** are real (unpadded) input positions with a next item to predict, of each user's newest window, counted once
  a pass, whatever a library computes on padding besides. RecBole makes a sample of every prefix and encodes it for one
  target, so its events are its targets.
- Same model and loss for all: SASRec {width} wide, {blocks} blocks, 1 head, feed-forward as wide as the model, dropout
  {dropout}, cross-entropy over the whole catalog, batches of {batch} sequences ({batch} samples for RecBole; Onward
  fills batches by events, and was given those of {batch} sequences).
- **Preparation** is from the raw file to a model and its data, **start** from there to the first batch (RecTools
  prepares further in its `fit`); imports are left out.
- **Evaluation** is the library's own, of all test users over the whole catalog, metrics included (RecBole's doesn't
  exclude seen items). **Lists** are the ten best unseen items of every test user; **one user** is the same in process
  for one user after the other; Onward's SASRec by its compiled code and its GRU by its exported graph and ONNX Runtime,
  as they are served.
- **Peak** is the most memory that the process held through all of this (VmHWM).
- **Quality** has one definition: each library gives its ten best unseen items of every test user, and Onward's metrics
  score them. Each user's last event is the target; training sees all but the last two. The clock runs from the start of
  the process: imports, preparation and training, without the pauses in which lists are made and other libraries train.
  None validates meanwhile: settings are fixed before, and the weights are those of the moment.
- **FLOPs** are those of matrix products for real positions: `3 x (events x blocks x 12 D^2 + events x 2 D V + pairs x
  blocks x 4 D)` for SASRec, where D is the width, V the items, and pairs the sum of t (t + 1) / 2 over windows of t
  events; once forward, twice backward (`onward.models.cost`). That is {flops:,.0f} an event at length {length}. Nothing
  is counted for norms, dropout, softmax, optimiser or padding. The **peak** is the best of four products of two
  4,096 x 4,096 float32 matrices, in every round.
"""


def write_report(records: Records, path: Path) -> None:
    """Write the page; what was not measured is left out."""
    parts = [_head(records, picture_of(path))]
    for length in settings.LENGTHS:
        parts += _throughput(records, length)
    parts += [*_quality(records), *_static(records), *_imports(records), *_bars(records), *_how(records), _settings()]
    path.write_text("\n".join(parts), encoding="utf-8")


def picture_of(page: Path) -> Path:
    """Where the picture of a page is."""
    return page.with_name(f"{page.stem.lower()}.png")


def _head(records: Records, picture: Path) -> str:
    (run,) = records.of(stage="run")
    machine = run["machine"]
    facts = [line for line in records.of(do="facts") if line["stage"] != "run"]
    data = facts[0]
    versions = ", ".join(f"{name} {_version(name, found)}" for name, found in run["versions"].items())
    others = max(records.values("others", do="train"), default=0.0)
    bf16 = " and ".join(machine["bf16"]) or "no bf16"
    return f"""\
# Onward and its peers

Made by `make bench-peers` (`bench/peers/run.py`), {data["begun"]}. Not edited by hand.

- Data: {data["data"]}, {data["all_events"]:,} events, {data["users"]:,} users, {data["items"]:,} items.
- Machine (`onward doctor`): {machine["processor"]}, {machine["cores"]} cores, {data["plan"]["threads"]} threads used,
  {machine["memory"] / 2**30:.0f} GiB, {bf16}; {machine["system"]}, Python {machine["python"]},
  PyTorch {machine["torch"]}.
- Versions: {versions}.
- Everything else on the machine kept {others:.2f} of a core busy at most while a library trained.

![Training speed, and quality against time]({picture.name})
"""


def _version(environment: str, packages: dict[str, str]) -> str:
    wanted = DISTRIBUTIONS.get(environment, environment)
    return next(version for name, version in packages.items() if name.lower() == wanted)


def _throughput(records: Records, length: int) -> list[str]:
    stage = f"length {length}"
    if not (facts := records.of(stage=stage, do="facts")):
        return []
    peak = records.middle("flops", stage=stage, do="peak") or float("nan")
    mine = records.middle("events_per_second", stage=stage, do="train", library=settings.ONWARD.name)
    rows, answers = [], []
    for library in settings.THROUGHPUT:
        where = {"stage": stage, "library": library.name}
        speeds = records.values("events_per_second", do="train", **where)
        if not speeds:
            continue
        speed = records.middle("events_per_second", do="train", **where) or 0.0
        same = library in settings.SAME_FLOPS
        share = f"{speed * facts[0]['flops_per_event'] / peak:.0%}" if same else "-"
        behind = f"{mine / speed:.1f}" if mine and library.environment != "onward" else "-"
        prepared, started = (records.values(key, **where)[0] for key in ("prepare_seconds", "first_batch_seconds"))
        memory = max(records.values("peak_mib", **where))
        spread = f"({min(speeds):,.0f} to {max(speeds):,.0f})"
        rows.append(
            [library.name, f"{speed:,.0f} {spread}", behind, share, f"{prepared:.1f} + {started:.1f}", f"{memory:,.0f}"]
        )
        answers.append([library.name, *_answers(records, where)])
    return [
        f"## Length {length}\n",
        _table(["", "training, events/s", "Onward / it", "of fp32 peak", "preparation + start, s", "peak MiB"], rows),
        f"fp32 matrix peak: {peak / 1e9:,.0f} GFLOP/s.\n",
        _table(["", "evaluation, users/s", "lists, users/s", "one user p50 / p99 ms"], answers),
    ]


def _answers(records: Records, where: Record) -> list[str]:
    evaluated, listed = (records.middle("users_per_second", do=do, **where) for do in ("evaluate", "recommend"))
    (single,) = records.of(do="latency", **where) or [{"p50_ms": float("nan"), "p99_ms": float("nan")}]
    return [f"{evaluated or 0:,.0f}", f"{listed or 0:,.0f}", f"{single['p50_ms']:.2f} / {single['p99_ms']:.2f}"]


def _quality(records: Records) -> list[str]:
    scores = records.of(stage="quality", do="score")
    if not scores:
        return []
    rows = [
        [one["library"], f"{one['clock']:.0f}", f"{one['events']:,}", f"{one['ndcg@10']:.4f}", f"{one['hr@10']:.4f}"]
        for one in sorted(scores, key=lambda one: (one["library"], one["clock"]))
    ]
    return [
        "## Quality against time\n",
        "Test part, whole catalog, seen items excluded, seconds from the start of the process.\n",
        _table(["", "seconds", "events trained on", "NDCG@10", "HR@10"], rows),
    ]


def _static(records: Records) -> list[str]:
    rows = []
    for library in settings.STATIC:
        where = {"stage": "static", "library": library.name}
        for one in records.of(do="score", **where):
            memory = max(records.values("peak_mib", **where))
            numbers = [f"{one['clock']:.1f}", f"{one['ndcg@10']:.4f}", f"{one['hr@10']:.4f}"]
            rows.append([library.name, *numbers, *_answers(records, where), f"{memory:,.0f}"])
    titles = ["", "seconds in all", "NDCG@10", "HR@10", "evaluation, users/s", "lists, users/s"]
    return ["## Static models\n", _table([*titles, "one user p50 / p99 ms", "peak MiB"], rows)] if rows else []


def _imports(records: Records) -> list[str]:
    names = dict.fromkeys(one["environment"] for one in records.of(stage="imports", do="import"))
    rows = [[name, f"{records.middle('seconds', stage='imports', environment=name):.1f}"] for name in names]
    title = "What a user imports to train and recommend, a fresh interpreter, files in the disk cache.\n"
    return ["## Imports\n", title, _table(["", "seconds"], rows)] if rows else []


def _bars(records: Records) -> list[str]:
    rows = [[bar.what, bar.wanted, bar.found, "met" if bar.met else "NOT MET"] for bar in bars(records)]
    return ["## Bars\n", _table(["", "bar", "here", ""], rows)] if rows else []


def _how(records: Records) -> list[str]:
    facts = records.of(stage=f"length {settings.LENGTHS[0]}", do="facts")
    if not facts:
        return []
    plan = facts[0]["plan"]
    text = HOW.format(
        **{"seconds": plan["seconds"], "rounds": plan["rounds"], "flops": facts[0]["flops_per_event"]},
        **{"width": settings.WIDTH, "blocks": settings.BLOCKS, "dropout": settings.DROPOUT, "batch": settings.BATCH},
        length=settings.LENGTHS[0],
    )
    return [text]


def _settings() -> str:
    speed = [f"- {one.name}: `{json.dumps(one.settings)}`" for one in (*settings.THROUGHPUT, *settings.STATIC)]
    quality = [f"- {settings.QUALITY[key].name}: `{path}`" for key, path in settings.RECIPES.items()]
    sizes = f"length {settings.QUALITY_LENGTH}, batches of {settings.QUALITY_BATCH}"
    others = f"- RePlay, RecTools: as above, {sizes}, Adam with 0.001"
    return "\n".join(["## Settings\n", *speed, "\nFor quality:\n", *quality, others, ""])


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
