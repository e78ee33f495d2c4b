"""Refit policies along the time line: never, full retraining, fine-tuning, on three public logs.

    python bench/prequential.py --data DATA --work WORK [--only ml-100k] [--early [--set fine_tune.replay=2]]

DATA holds the folders `ml-100k`, `movietweetings-100k` and `foursquare-nyc`. Of each log the first 60% of the events
train, the next 10% validate and the last 30% are walked over in six or eight periods of equal numbers of events. The
model is SASRec, 64 wide. Epochs (and, where several are given, dropout) are chosen on the validation part, and the test
part is walked over once. One thread.

With --early the events before the test part are all there is: the last 30% of them are walked over in the same way,
with --set to choose how to fine-tune. So the package's defaults were chosen, which are what is measured.

Writes bench/PREQUENTIAL.md, after each log and not with --early, and exits with 1 when a bar is missed. What is there
in WORK is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import polars as pl
import torch

from onward.bundle import load_bundle
from onward.config import Config, FineTuneConfig, SplitConfig, apply_settings
from onward.data.as_of import write_as_of
from onward.data.dataset import open_dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.evaluate.answers import MAIN
from onward.evaluate.report_text import day
from onward.evaluate.results import Estimate
from onward.prequential.results import PolicyResult, Prequential, Scope
from onward.prequential.walk import prequential
from onward.train.run import train

HERE = Path(__file__).parent
SETTINGS = [
    "split.valid_share=0.1",
    "split.test_share=0.3",
    "model.width=64",
    "model.max_length=50",
    "train.patience=2",
]


@dataclass(frozen=True)
class Log:
    """How a log is measured.

    Attributes:
        settings: beside SETTINGS. With thousands of items the loss is over a sample, so that a training takes a minute.
        dropouts: tried on the validation part.
    """

    periods: int
    settings: tuple[str, ...]
    dropouts: tuple[float, ...]


SAMPLED = ("model.loss=sampled_softmax", "train.epochs=8")
LOGS = {
    "movietweetings-100k": Log(6, SAMPLED, (0.2,)),
    "foursquare-nyc": Log(6, SAMPLED, (0.2,)),
    "ml-100k": Log(8, ("train.epochs=12",), (0.2, 0.5)),
}
KEPT, COST = -0.02, 0.2
"""The bars: change of NDCG@10 against full retraining, and share of its time."""


def read_log(name: str, data: Path) -> pl.DataFrame | Path:
    """What `prepare` takes."""
    folder = data / name
    if name == "movietweetings-100k":
        lines = (folder / "ratings.dat").read_text(encoding="utf-8").splitlines()
        rows = [line.split("::") for line in lines]
        frame = pl.DataFrame(rows, schema=["user", "item", "rating", "time"], orient="row")
        return frame.select("user", "item", pl.col("time").cast(pl.Int64))
    if name == "foursquare-nyc":
        return pl.read_csv(folder / "checkins.csv.gz").rename({"poi": "item", "minute": "time"})
    return folder


class Given(Config):
    """What `--set` can say."""

    fine_tune: FineTuneConfig = FineTuneConfig()
    """How `fine-tune` goes on."""


def measure(name: str, data: Path, work: Path, early: bool, fine_tune: FineTuneConfig) -> Prequential:
    """Prepare, choose on validation, walk over the test part once."""
    dataset = work / "dataset"
    if not dataset.is_dir():
        prepare(read_log(name, data), dataset, time_unit="min" if name == "foursquare-nyc" else None)
    if early:
        dataset = before_the_test(dataset, work / "early")
        work = work / "early"
    run = choose_run(dataset, work, LOGS[name])
    split = load_bundle(run).manifest.split
    time = open_dataset(dataset).histories.time
    assert time is not None
    assert split.test_from is not None
    every = -(-int((time >= split.test_from).sum()) // LOGS[name].periods)
    return prequential(
        run,
        work / "walk",
        every=str(every),
        policies=["never", "full", "fine-tune", "full:4"],
        fine_tune=fine_tune,
        resume=True,
        on_step=lambda what, done, total: print(f"{name}: {what} ({done} of {total} done)", flush=True),
    )


def choose_run(dataset: Path, work: Path, log: Log) -> Path:
    """The run whose dropout validates best; the epoch that validates best is part of it."""
    found: dict[Path, float] = {}
    for dropout in log.dropouts:
        run = work / f"run-{dropout}"
        record = work / f"run-{dropout}.json"
        if not record.is_file():
            settings = [*SETTINGS, *log.settings, f"model.dropout={dropout}"]
            done = train(dataset, "sasrec", run, settings=settings, overwrite=True, progress=False)
            facts = {MAIN: done.validation[MAIN], "epoch": done.best_epoch, "seconds": done.seconds}
            record.write_text(json.dumps(facts), encoding="utf-8")
            print(f"{run}: {facts}", flush=True)
        found[run] = json.loads(record.read_text(encoding="utf-8"))[MAIN]
    return max(found, key=lambda run: found[run])


def before_the_test(dataset: Path, work: Path) -> Path:
    """The events before a dataset's test part, as a dataset of their own."""
    if not (work / "dataset").is_dir():
        whole = open_dataset(dataset)
        shares = SplitConfig.parse({"valid_share": 0.1, "test_share": 0.3})
        until = split(whole.histories, shares).config.test_from
        assert until is not None
        work.mkdir(parents=True, exist_ok=True)
        write_as_of(whole, until, work / "dataset")
    return work / "dataset"


def met(result: Prequential) -> dict[str, bool]:
    """The bars, and whether each is met."""
    tuned = _policy(result, "fine-tune")
    assert tuned.overall.relative is not None
    assert tuned.share_of_processor_seconds is not None
    return {
        f"NDCG@10 of fine-tuning at most {-KEPT:.0%} below that of full retraining": tuned.overall.relative.value
        >= KEPT,
        f"at most {COST:.0%} of its processor time": tuned.share_of_processor_seconds <= COST,
    }


def _policy(result: Prequential, name: str) -> PolicyResult:
    return next(one for one in result.policies if one.policy == name)


def write(results: dict[str, Prequential]) -> None:
    """bench/PREQUENTIAL.md, of the logs that were measured."""
    lines = [
        "# Refit policies along the time line",
        "",
        "Written by `python bench/prequential.py`: SASRec, 64 wide, one thread. Change and p: NDCG@10 against full "
        "retraining before every period on the same requests, with a 95% interval, paired bootstrap over users, Holm. "
        "Never seen: targets that the answering model had no event of. Refits: trainings after the first; their "
        "processor time, and its share of that of full retraining. foursquare-nyc counts its time from 1970 on.",
    ]
    for name, result in results.items():
        requests = sum(period.requests for period in result.periods)
        returning = sum(period.returning for period in result.periods)
        first, last = result.periods[0], result.periods[-1]
        lines += [
            "",
            f"## {name}",
            "",
            f"{len(result.periods)} periods from {day(first.start)} to {day(last.end)}, {requests:,} requests, "
            f"{returning / requests:.1%} by returning users; {first.training_events:,} events are known at first.",
            "",
            "| policy | NDCG@10 | change | p | never seen | returning | change | new | refits | seconds | share |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        lines += [_row(one) for one in result.policies]
        lines += ["", "| delay | days | change of NDCG@10 | p |", "|---|---:|---:|---:|"]
        lines += [
            f"| {one.periods} | {one.days:.1f} | {_share(one.relative)} | {one.p_value:.3f} |" for one in result.delays
        ]
        lines += ["", *(f"- {bar}: {'met' if good else 'MISSED'}" for bar, good in met(result).items())]
    (HERE / "PREQUENTIAL.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(one: PolicyResult) -> str:
    every = one.overall
    cells = [
        one.policy,
        _value(every),
        _share(every.relative),
        "" if every.p_holm is None else f"{every.p_holm:.3f}",
        f"{every.cold_targets:.1%}",
        _value(one.returning),
        "" if one.returning is None else _share(one.returning.relative),
        _value(one.new),
        f"{one.refits.trainings}",
        f"{one.refits.processor_seconds:.0f}",
        "" if one.share_of_processor_seconds is None else f"{one.share_of_processor_seconds:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def _value(scope: Scope | None) -> str:
    return "" if scope is None else f"{scope.metrics[MAIN].value:.4f}"


def _share(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:+.1%} ({found.low:+.1%} to {found.high:+.1%})"


def main() -> int:
    """Measure log by log, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(LOGS))
    parser.add_argument("--early", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="how fine-tune goes on, with --early")
    given = parser.parse_args()
    if given.set and not given.early:
        parser.error("--set chooses the defaults, which is done with --early; without it they are measured")
    fine_tune = Given.parse(apply_settings({}, given.set)).fine_tune
    torch.set_num_threads(1)
    for name in given.only:
        (given.work / name).mkdir(parents=True, exist_ok=True)
        result = measure(name, given.data, given.work / name, given.early, fine_tune)
        if given.early:
            print("\n".join([f"{name}, before its test part:", *map(_row, result.policies)]), flush=True)
        else:
            write(finished(given.work))
    if given.early:
        return 0
    return int(not all(good for result in finished(given.work).values() for good in met(result).values()))


def finished(work: Path) -> dict[str, Prequential]:
    """The results of all logs that were measured."""
    files = {name: work / name / "walk" / "result.json" for name in LOGS}
    return {
        name: Prequential.model_validate_json(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.is_file()
    }


if __name__ == "__main__":
    sys.exit(main())
