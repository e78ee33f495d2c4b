"""The walk: its numbers against a slow, obvious version; what models know; going on after a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from walk_helpers import DAY, START, turning_log, walk_run

import onward
from onward.bundle import read_manifest
from onward.cli.main import main
from onward.data.dataset import Dataset
from onward.errors import ConfigError, OutputError
from onward.prequential import walk as walking
from onward.prequential.results import Prequential

POLICIES = ["never", "full", "full:4"]


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the log that turns around on day 30, where its test part begins."""
    return walk_run(tmp_path_factory.mktemp("turned"), turning_log())


@pytest.fixture(scope="module")
def walked(turned: Path) -> Prequential:
    return onward.prequential(turned, turned.parent / "walk", every="1d", policies=POLICIES)


def by_hand(log: pl.DataFrame, first_day: int, last_day: int, made: list[int]) -> list[tuple[str, float, float]]:
    """(user, NDCG@10, cold) of every request to the most popular items, in order of users; an event at a time.

    `made[d]` is the day from whose beginning the model of day `first_day + d` is; seen items are listed again.
    """
    rows = sorted(log.rows(), key=lambda row: row[2])
    found = []
    for user, item, when in rows:
        day = (when - START) // DAY
        if not first_day <= day < last_day:
            continue
        known = [row for row in rows if row[2] < START + made[day - first_day] * DAY]
        counts: dict[str, int] = {}
        for _, other, _ in known:
            counts[other] = counts.get(other, 0) + 1
        if item not in counts:
            found.append((when, user, 0.0, 1.0))
            continue
        above = sum(count > counts[item] for count in counts.values())
        tied = sum(count == counts[item] for count in counts.values())
        gains = [1 / math.log2(rank + 1) if rank <= 10 else 0.0 for rank in range(above + 1, above + tied + 1)]
        found.append((when, user, sum(gains) / tied, 0.0))
    return [(user, ndcg, cold) for _, user, ndcg, cold in sorted(found)]


def test_every_answer_is_that_of_the_obvious_version(tmp_path: Path) -> None:
    log = turning_log(users=12)
    run = walk_run(tmp_path, log, "popularity")
    result = onward.prequential(run, tmp_path / "walk", every="1d", policies=POLICIES)
    bounds = [period.start for period in result.periods]
    shift = bounds[0] // 10**6 - (START + 30 * DAY)  # the walk begins with the first event of the part
    moved = log.with_columns(time=pl.col("time") - shift)
    assert len(bounds) == 10
    requests = pl.read_parquet(tmp_path / "walk" / "requests.parquet").sort("time", "user")
    made = {"never": [30] * 10, "full": list(range(30, 40)), "full:4": [30] * 4 + [34] * 4 + [38] * 2}
    for policy, days in made.items():
        expected = by_hand(moved, 30, 41, [*days, days[-1]])
        assert requests[f"{policy} ndcg@10"].to_list() == pytest.approx([ndcg for _, ndcg, _ in expected])
        assert requests[f"{policy} cold"].to_list() == [cold for _, _, cold in expected]
        mine = next(one for one in result.policies if one.policy == policy)
        assert mine.overall.metrics["ndcg@10"].value == pytest.approx(np.mean([ndcg for _, ndcg, _ in expected]))
        assert mine.refits.trainings == len(set(days)) - 1
    first_seen = {user: min(row[2] for row in moved.rows() if row[0] == user) for user in moved["user"].unique()}
    started = [START + (30 + period) * DAY for period in requests["period"]]
    users = sorted(first_seen)
    back = [first_seen[users[user]] < start for user, start in zip(requests["user"], started, strict=True)]
    assert requests["returning"].to_list() == back
    assert 0 < sum(back) < len(back)


def test_where_taste_turns_the_frozen_model_loses_and_delay_costs(walked: Prequential) -> None:
    never, full, fourth = walked.policies
    assert walked.reference == "full"
    assert never.overall.relative is not None
    assert fourth.overall.relative is not None
    assert never.overall.relative.high < fourth.overall.relative.low < fourth.overall.relative.high < 0
    assert full.overall.difference is None
    gap = never.overall.metrics["ndcg@10"].value - full.overall.metrics["ndcg@10"].value
    assert never.overall.difference is not None
    assert never.overall.difference.value == pytest.approx(gap)
    assert never.overall.relative.value == pytest.approx(gap / full.overall.metrics["ndcg@10"].value)
    assert [one.periods for one in walked.delays] == [1, 2, 4, 8]
    assert [one.days for one in walked.delays] == [1, 2, 4, 8]
    assert all(one.difference.high < 0 for one in walked.delays)
    assert walked.delays[0].difference.value > walked.delays[3].difference.value
    last = {one.policy: one.steps[-1] for one in walked.policies}
    assert [last[name].made for name in POLICIES] == [0, 9, 8]
    assert never.overall.cold_targets > full.overall.cold_targets > 0  # the item that comes late
    assert never.refits.trainings == 0
    assert never.share_of_processor_seconds == 0
    assert full.share_of_processor_seconds == 1
    assert full.new is not None
    assert full.returning is not None
    assert full.new.requests + full.returning.requests == full.overall.requests


def test_without_drift_the_frozen_model_is_as_good(tmp_path: Path) -> None:
    log = turning_log(turn=None).filter(pl.col("item") != "late")
    run = walk_run(tmp_path, log)
    result = onward.prequential(run, tmp_path / "walk", every="2d", policies=["never", "full"])
    never = result.policies[0].overall
    assert never.p_value is not None
    assert never.p_value > 0.05
    # histories are those up to the request: from those before the period the next step of the ring can't be told
    assert never.metrics["ndcg@10"].value > 0.85


def test_what_comes_later_changes_no_model_and_no_answer(walked: Prequential, turned: Path, tmp_path: Path) -> None:
    """From period 4 on everything is another log; what was predicted until then must be the same to the bit."""
    cut = walked.periods[4].start // 10**6
    other = turning_log(seed=7).filter(pl.col("time") >= cut).with_columns(item=pl.lit("x-") + pl.col("item"))
    log = pl.concat([turning_log().filter(pl.col("time") < cut), other])
    run = walk_run(tmp_path, log)
    result = onward.prequential(run, tmp_path / "walk", every="1d", policies=POLICIES)
    ours, theirs = tmp_path / "walk", turned.parent / "walk"
    for period in range(5):
        name = f"models/full-{period:04}/model"
        one, two = (read_manifest(folder / name) for folder in (ours, theirs))
        assert one.files["weights.safetensors"] == two.files["weights.safetensors"]
    columns = [f"{policy} {metric}" for policy in POLICIES for metric in ("ndcg@10", "cold")]
    early = [
        pl.read_parquet(folder / "requests.parquet").filter(pl.col("period") < 4).sort("time", "user").select(columns)
        for folder in (ours, theirs)
    ]
    assert early[0].equals(early[1])
    assert result.periods[3].requests == walked.periods[3].requests


def test_a_planted_leak_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each day has one item that nobody asked for before: who trains on that day knows it, and nobody else can."""
    days = np.repeat(np.arange(40), 30)
    log = pl.DataFrame(
        {
            "user": [f"u{one % 30}" for one in range(len(days))],
            "item": [f"d{day:02}" for day in days],
            "time": START + days * DAY + np.tile(np.arange(30), 40) * 60,
        }
    )
    run = walk_run(tmp_path, log, "popularity")
    honest = onward.prequential(run, tmp_path / "honest", every="1d", policies=["full"])
    assert honest.policies[0].overall.metrics["hr@10"].value == 0
    assert honest.policies[0].overall.cold_targets == 1
    write = walking.write_as_of
    later = DAY * 10**6

    def leaking(dataset: Dataset, until: int, folder: Path) -> Dataset:
        return write(dataset, until + later, folder)

    monkeypatch.setattr(walking, "write_as_of", leaking)
    leaky = onward.prequential(run, tmp_path / "leaky", every="1d", policies=["full"])
    assert leaky.policies[0].overall.cold_targets == 0


@pytest.mark.parametrize("step", [1, 8, *(pytest.param(step, marks=pytest.mark.full) for step in (0, 3, 20))])
def test_a_walk_that_was_cut_off_goes_on_where_it_was(
    step: int, walked: Prequential, turned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "walk"
    said: list[str] = []

    def stop(what: str, done: int, total: int) -> None:
        said.append(what)
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        onward.prequential(turned, out, every="1d", policies=POLICIES, on_step=stop)
    there = {file: file.stat().st_mtime_ns for file in [*out.rglob("cost.json"), *out.rglob("answers/*/*.parquet")]}
    assert len(there) == step
    result = onward.prequential(turned, out, every="1d", policies=POLICIES, resume=True)
    assert all(file.stat().st_mtime_ns == when for file, when in there.items())
    assert _numbers(result) == _numbers(walked)
    assert not list((out / "data").iterdir())


def _numbers(result: Prequential) -> dict[str, object]:
    """All that doesn't depend on the clock and the place."""
    kept = result.as_dict()
    for one in kept["policies"]:
        for name in ("refits", "share_of_seconds", "share_of_processor_seconds"):
            del one[name]
    return {name: value for name, value in kept.items() if name not in ("folder", "report", "first")}


def test_a_training_that_was_killed_begins_anew(turned: Path, walked: Prequential, tmp_path: Path) -> None:
    out = tmp_path / "walk"
    onward.prequential(turned, out, every="1d", policies=POLICIES)
    (out / "models" / "full-0003" / "cost.json").unlink()  # written last
    (out / "models" / "full-0003" / "model" / "weights.safetensors").write_bytes(b"half")
    result = onward.prequential(turned, out, every="1d", policies=POLICIES, resume=True)
    assert (out / "models" / "full-0003" / "cost.json").is_file()
    assert _numbers(result) == _numbers(walked)


def test_what_is_refused(walked: Prequential, turned: Path, tmp_path: Path) -> None:
    out = turned.parent / "walk"
    with pytest.raises(ConfigError, match="begun with another every, policies"):
        onward.prequential(turned, out, every="2d", policies=["never"], resume=True)
    with pytest.raises(OutputError, match="already exists"):
        onward.prequential(turned, out, every="1d", policies=POLICIES)
    onward.train(turned.parent / "dataset", "popularity", tmp_path / "last", protocol="last", progress=False)
    with pytest.raises(ConfigError, match="trained for protocol 'last'"):
        onward.prequential(tmp_path / "last", tmp_path / "walk")


def test_the_command_prints_says_and_writes(
    walked: Prequential,
    turned: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["prequential", str(turned), "--every", "1d", "--policies", ",".join(POLICIES)]
    assert main([*arguments, "-o", str(turned.parent / "walk"), "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "'never' is worse than 'full' by" in printed
    assert "A delay of 1.0 days" in printed
    page = (turned.parent / "walk" / "report.html").read_text(encoding="utf-8")
    for one in walked.policies:
        found = one.overall.metrics["ndcg@10"]
        assert f"{found.value:.4f}" in page
        assert f"{found.low:.4f}-{found.high:.4f}" in printed, "whole in eighty columns"
    stored = json.loads((turned.parent / "walk" / "result.json").read_text(encoding="utf-8"))
    assert stored["format"] == "onward.prequential/1"
