"""`onward update`: the gate, what is new, versions, and an update that is killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forked import Forked
from onward.bundle import export, load_bundle
from onward.cli.main import main
from onward.config import SplitConfig
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.data.synthetic import drift_instant, drifting_events
from onward.errors import ConfigError, OutputError
from onward.evaluate.gate import gate, judge
from onward.train.run import train
from onward.update.newest import held_out_from, new_times, unseen_since
from onward.update.run import update
from onward.update.settings import UpdateConfig
from onward.update.versions import next_version

USERS, LENGTH = 60, 12
SMALL = ["model.width=16", "model.dropout=0.0", "train.epochs=8", "train.learning_rate=0.02", "train.batch_tokens=256"]


def log() -> pl.DataFrame:
    """Walks over twenty items, half of which are followed by others later; some of these are new by then."""
    frame = drifting_events(USERS, 20, LENGTH, 14, drift=0.5, noise=0.1)
    later = pl.col("time") >= drift_instant(USERS, LENGTH)
    renamed = pl.when(later & (pl.col("item") < 3)).then(pl.col("item") + 100).otherwise(pl.col("item"))
    return frame.with_columns(item=renamed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first` and `data`, the log before and after; models `shop`, a GRU, and `markov`."""
    folder = tmp_path_factory.mktemp("update")
    first = prepare(log().filter(pl.col("time") < drift_instant(USERS, LENGTH)), folder / "first")
    prepare(log(), folder / "data")
    train(first, "gru", folder / "run", protocol="all", settings=SMALL, progress=False)
    export(folder / "run", folder / "shop")
    train(first, "markov", folder / "markov-run", protocol="all", progress=False)
    export(folder / "markov-run", folder / "markov")
    return folder


def broken_log() -> pl.DataFrame:
    """The first log and, later, everyone the same again; but for a third of it, events have the items of each other."""
    first = log().filter(pl.col("time") < drift_instant(USERS, LENGTH))
    again = first.with_columns(pl.col("time") + LENGTH * USERS)
    item, sound = again["item"].to_numpy().copy(), again["time"] >= drift_instant(USERS, LENGTH + LENGTH * 2 // 3)
    mixed = np.flatnonzero(~sound.to_numpy())
    item[mixed] = item[np.random.default_rng(0).permutation(mixed)]
    return pl.concat([first, again.with_columns(item=pl.Series(item))])


@pytest.fixture
def models(folder: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the models, to write versions beside them."""
    for name in ("shop", "markov"):
        shutil.copytree(folder / name, tmp_path / name)
    return tmp_path


# the gate


def answers(ndcg: np.ndarray, cold: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([ndcg, (ndcg > 0).astype(float)], axis=1), np.zeros(len(ndcg), bool) if cold is None else cold


def test_the_gate_asks_for_the_lower_end_of_the_paired_interval() -> None:
    rng = np.random.default_rng(0)
    user, current = np.repeat(np.arange(400), 5), rng.random(2000)
    same = judge(user, answers(current), answers(current))
    assert (same.difference.low, same.difference.high, same.passed) == (0.0, 0.0, True)
    assert same.least == pytest.approx(-0.01 * current.mean())
    assert (same.requests, same.users) == (2000, 400)
    # a loss of half a percent that is sure passes, one of two percent doesn't
    assert judge(user, answers(current), answers(0.995 * current)).passed
    assert not judge(user, answers(current), answers(0.98 * current)).passed
    # nothing is lost on average, and nothing is known: by other users it could have been much
    noise = rng.normal(0, 0.3, 2000)
    unsure = judge(user, answers(current), answers(current + noise - noise.mean()))
    assert unsure.difference.value == pytest.approx(0, abs=1e-12)
    assert unsure.difference.low < unsure.least
    assert not unsure.passed
    assert judge(user, answers(current), answers(current + noise - noise.mean()), margin=0.5).passed


def test_users_are_what_is_resampled() -> None:
    """All requests of a user alike: a hundred of them say no more than one."""
    once = np.random.default_rng(1).normal(0, 0.2, 30)
    alone = judge(np.arange(30), answers(np.full(30, 0.5)), answers(0.5 + once))
    many = judge(np.repeat(np.arange(30), 100), answers(np.full(3000, 0.5)), answers(np.repeat(0.5 + once, 100)))
    assert many.difference.low == pytest.approx(alone.difference.low)


def test_targets_that_the_current_model_does_not_know_are_its_misses_and_counted() -> None:
    cold = np.array([True] * 20 + [False] * 80)
    current, better = np.where(cold, 0.0, 0.5), np.where(cold, 0.4, 0.5)
    found = judge(np.arange(100), answers(current, cold), answers(better))
    assert (found.current_cold, found.candidate_cold) == (0.2, 0.0)
    assert found.difference.value == pytest.approx(0.08)
    assert found.known_difference is not None
    assert found.known_difference.value == 0


def test_the_current_model_answers_from_fresh_histories_without_what_it_does_not_know(folder: Path) -> None:
    """The gate says of the current model what an evaluation on external data says: the same code, the same numbers."""
    from onward.evaluate.protocol import evaluate

    since = drift_instant(USERS, LENGTH) * 1_000_000
    config = SplitConfig(protocol="time", valid_from=since, test_from=since + USERS * 10 * 1_000_000, refit=True)
    bundle, data = load_bundle(folder / "shop"), Dataset(folder / "data", _opened(folder).manifest)
    found = gate(bundle, bundle, data, split(data.histories, config).test)
    measured = evaluate(folder / "shop", folder / "data", external=True, protocol=config)
    assert found.current["ndcg@10"].value == pytest.approx(measured.metrics["ndcg@10"].value)
    assert found.current_cold == pytest.approx(measured.counts["cold_targets"] / measured.counts["targets"])
    assert found.current_cold > 0
    assert found.difference.value == 0


def _opened(folder: Path) -> Dataset:
    from onward.data.dataset import open_dataset

    return open_dataset(folder / "data")


# what is new, and versions


def test_new_is_what_came_after_the_training(folder: Path, tmp_path: Path) -> None:
    first_new = drift_instant(USERS, LENGTH) * 1_000_000
    shop = load_bundle(folder / "shop")
    assert first_new - USERS * 1_000_000 < unseen_since(shop) <= first_new
    times = new_times(_opened(folder), unseen_since(shop))
    assert len(times) == USERS * 14
    train(_opened(folder), "popularity", tmp_path / "by-time")
    by_time = load_bundle(tmp_path / "by-time")
    assert unseen_since(by_time) == by_time.manifest.split.valid_from
    train(_opened(folder), "popularity", tmp_path / "refit", refit=True)
    refit = load_bundle(tmp_path / "refit")
    assert unseen_since(refit) == refit.manifest.split.test_from
    with pytest.raises(ConfigError, match=r"0 events that the model hasn't learned from.*fewer than 20"):
        new_times(_opened(folder), int(times[-1]) + 1)


def test_the_newest_share_is_held_out_and_an_instant_is_never_cut() -> None:
    times = np.arange(10, 20)
    assert held_out_from(times, 0.3) == 17
    assert held_out_from(np.array([1, 2, 5, 5, 5, 5]), 0.3) == 5
    assert held_out_from(np.array([1, 1, 1, 1, 2]), 0.5) == 2  # else nothing would be left to learn from
    with pytest.raises(ConfigError, match="all 3 new events happened at"):
        held_out_from(np.array([4, 4, 4]), 0.3)


def test_the_next_number_is_past_all_that_are_there(tmp_path: Path) -> None:
    for name in ("shop", "shop-2", "shop-7", "shopping-9", "cart"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path / "shop").name == "shop-8"
    assert next_version(tmp_path / "shop-2").name == "shop-8"
    assert next_version(tmp_path / "cart").name == "cart-2"


# updates


def visible(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}


@pytest.mark.parametrize("name", ["shop", "markov"])
def test_a_better_one_becomes_the_next_version_with_its_lineage(name: str, folder: Path, models: Path) -> None:
    before = (models / name / "manifest.json").read_bytes()
    done = update(models / name, folder / "data", progress=False, config=UpdateConfig(), seed=3)
    assert done.passed
    assert done.gate.difference.low > 0
    assert done.next == str(models / f"{name}-2")
    assert visible(models) == {"shop", "markov", f"{name}-2"}
    assert not list(models.glob(".*"))
    assert (models / name / "manifest.json").read_bytes() == before
    old, new = load_bundle(models / name), load_bundle(models / f"{name}-2")
    lineage = new.manifest.lineage
    assert lineage is not None
    assert (lineage.previous, lineage.ancestors) == (name, [old.manifest.files["weights.safetensors"]])
    assert new.manifest.parent == lineage.ancestors[0]
    assert lineage.plan["dataset"] == new.manifest.dataset == _opened(folder).manifest.hash
    assert lineage.plan["seed"] == 3
    assert lineage.gate["difference"]["low"] == done.gate.difference.low
    # the version was trained on the events that were held out as well, and says so
    assert new.manifest.split.protocol == "all"
    assert new.manifest.data.training_events == _opened(folder).manifest.events
    assert done.trained_events + done.held_out_events == USERS * 14
    assert "## Lineage" in (models / f"{name}-2" / "README.md").read_text(encoding="utf-8")
    assert new.catalog.index_of("100") > 0
    assert old.catalog.index_of("100") == 0
    # asked again, it says what it said, and trains nothing
    again = update(models / name, folder / "data", progress=False, config=UpdateConfig(), seed=3)
    assert (again.next, again.gate) == (done.next, done.gate)
    assert visible(models) == {"shop", "markov", f"{name}-2"}
    with pytest.raises(OutputError, match="already exists"):
        update(models / name, folder / "data", models / f"{name}-2", progress=False, seed=4)
    with pytest.raises(ConfigError, match="0 events that the model hasn't learned from"):
        update(models / f"{name}-2", folder / "data", progress=False)


def test_a_ruined_one_is_refused_and_nothing_is_written_but_the_report(
    models: Path, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    data = prepare(broken_log(), tmp_path_factory.mktemp("broken") / "data")
    settings = ["--set", "fine_tune.epochs=10", "--set", "fine_tune.replay=0"]
    command = ["update", str(models / "shop"), str(data.path), *settings]
    assert main([*command, "--json"]) == 3
    printed = json.loads(capfd.readouterr().out)
    report = models / "shop-2.refused.json"
    assert (printed["passed"], printed["next"], printed["report"]) == (False, None, str(report))
    assert json.loads(report.read_text(encoding="utf-8")) == printed
    assert visible(models) == {"shop", "markov", report.name}
    assert not list(models.glob(".*"))
    assert main(command) == 3
    said = capfd.readouterr().out
    assert "refused" in said
    assert str(report) in said
    assert "NDCG@10" in said


def test_a_version_goes_on_from_a_version(folder: Path, models: Path, tmp_path: Path) -> None:
    part = prepare(log().filter(pl.col("time") < drift_instant(USERS, LENGTH + 8)), tmp_path / "part")
    first = update(models / "shop", part, progress=False)
    assert first.next is not None
    second = update(first.next, folder / "data", progress=False, config=UpdateConfig(margin=0.2))
    assert second.next == str(models / "shop-3")
    lineage = load_bundle(second.next).manifest.lineage
    assert lineage is not None
    weights = [load_bundle(models / name).manifest.files["weights.safetensors"] for name in ("shop", "shop-2")]
    assert lineage.ancestors == weights


# killed

STAGES = (
    "plan.json",
    "candidate/config.toml",
    "candidate/checkpoints/last.safetensors",
    "candidate/model/manifest.json",
    "gate.json",
    "final/config.toml",
    "final/checkpoints/best.safetensors",
    "final/model/manifest.json",
    "../next/manifest.json",
)
"""What is there when the update is killed, as seen from its folder of work."""


@pytest.fixture(scope="module")
def unbroken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of the files of a version that was made without a stop."""
    out = tmp_path_factory.mktemp("unbroken") / "next"
    assert main(["update", str(folder / "shop"), str(folder / "data"), "-o", str(out)]) == 0
    return _files(out)


def _files(folder: Path) -> dict[str, str]:
    """Those of a whole version, but for what holds the time that it took."""
    files = load_bundle(folder).manifest.files  # every hash is verified
    return {name: digest for name, digest in files.items() if name != "README.md"}


def _killed_and_run_again(folder: Path, place: Path, stage: str, delay: float, unbroken: dict[str, str]) -> None:
    out = place / "next"
    arguments = [str(folder / "shop"), str(folder / "data"), "-o", str(out)]
    process = Forked("update", *arguments)
    awaited = place / ".next.update" / stage
    while process.poll() is None and not awaited.exists():
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.finish()
    assert visible(place) <= {"next"}
    if out.exists():
        assert _files(out) == unbroken
    assert main(["update", *arguments]) == 0
    assert _files(out) == unbroken
    assert visible(place) == {"next"}
    assert not (place / ".next.update").exists()


def test_killed_at_random_moments_it_leaves_no_version_or_a_whole_one_and_goes_on(
    folder: Path, tmp_path: Path, unbroken: dict[str, str]
) -> None:
    seed = int(os.environ.get("ONWARD_SEED", random.randrange(10**6)))
    print(f"ONWARD_SEED={seed}")
    rng = random.Random(seed)
    for stage in rng.sample(STAGES, 2):
        place = tmp_path / stage.replace("/", "-")
        place.mkdir()
        _killed_and_run_again(folder, place, stage, rng.random() * 0.05, unbroken)


@pytest.mark.full
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_stage(stage: str, folder: Path, tmp_path: Path, unbroken: dict[str, str]) -> None:
    for attempt in range(2):
        place = tmp_path / str(attempt)
        place.mkdir()
        _killed_and_run_again(folder, place, stage, random.Random(attempt).random() * 0.1, unbroken)


def test_the_work_of_another_update_is_thrown_away(folder: Path, models: Path) -> None:
    work = models / ".shop-2.update"
    work.mkdir()
    (work / "plan.json").write_text("{}", encoding="utf-8")
    (work / "gate.json").write_text("{}", encoding="utf-8")
    done = update(models / "shop", folder / "data", progress=False)
    assert done.passed
    assert not work.exists()


def test_settings_are_checked(folder: Path, models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["update", str(models / "shop"), str(folder / "data"), "--set", "fine_tune.epoch=3"]) == 2
    assert "did you mean 'epochs'?" in capfd.readouterr().err
    assert main(["update", str(models / "shop"), str(folder / "data"), "--set", "fine_tune.budget=0"]) == 2
    assert "budget" in capfd.readouterr().err
