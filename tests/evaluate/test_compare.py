"""Comparing runs: only under one protocol, with paired tests, and without evaluating twice."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from evaluation_helpers import write_dataset, write_run

from onward.data.dataset import Dataset
from onward.errors import ConfigError, FormatError
from onward.evaluate.compare import compare
from onward.evaluate.options import Options
from onward.evaluate.protocol import evaluate
from onward.evaluate.results import Evaluation

V = 20


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    generator = np.random.default_rng(0)
    # chains: the next item follows, so Markov is right and popularity is not
    lists = [((generator.integers(0, V) + np.arange(generator.integers(4, 12))) % V + 1).tolist() for _ in range(60)]
    return write_dataset(tmp_path / "data", lists, V)


@pytest.fixture
def runs(tmp_path: Path, dataset: Dataset) -> list[Path]:
    return [write_run(tmp_path / "runs" / m, dataset, m, protocol="last") for m in ("popularity", "markov", "item-knn")]


def test_rows_come_best_first_with_training_facts(runs: list[Path]) -> None:
    result = compare(runs)
    assert result.rows[0].label == result.baseline == "markov"
    values = [row.evaluation.metrics["ndcg@10"].value for row in result.rows]
    assert values == sorted(values, reverse=True)
    assert result.metric == "ndcg@10"
    assert result.rows[0].training["seconds"] == 0.5
    assert {row.path for row in result.rows} == {str(run) for run in runs}
    assert result.protocol == result.rows[0].evaluation.protocol
    assert result.audit is None


def test_every_other_row_is_tested_against_the_baseline(runs: list[Path]) -> None:
    result = compare(runs)
    by_label = {row.label: row.evaluation for row in result.rows}
    names = set(result.rows[0].evaluation.metrics)
    assert {(test.label, test.metric) for test in result.tests} == {
        (label, metric) for label in ("popularity", "item-knn") for metric in names
    }
    for test in result.tests:
        expected = by_label[test.label].metrics[test.metric].value - by_label["markov"].metrics[test.metric].value
        assert test.difference.value == pytest.approx(expected)
        assert test.p_value <= test.p_holm <= 2 * test.p_value
    clear = result.test("popularity", "ndcg@10")
    assert clear is not None
    assert clear.difference.high < 0
    assert clear.p_value < 0.01
    assert result.test("markov", "ndcg@10") is None


def test_a_named_baseline_turns_the_sign(runs: list[Path]) -> None:
    best, named = compare(runs[:2]), compare(runs[:2], baseline="popularity")
    assert named.baseline == "popularity"
    down, up = best.test("popularity", "hr@5"), named.test("markov", "hr@5")
    assert down is not None
    assert up is not None
    assert up.difference.value == pytest.approx(-down.difference.value)
    assert compare(runs[:2], baseline=str(runs[0])).baseline == "popularity"
    with pytest.raises(ConfigError, match="did you mean 'popularity'"):
        compare(runs, baseline="popularty")
    with pytest.raises(ConfigError, match=r"^unknown metric 'ndgc@10'; did you mean"):
        compare(runs, metric="ndgc@10")


def test_what_is_stored_is_not_measured_again(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("onward.evaluate.compare")
    asked: list[str] = []

    def counting(path: Path, *positional: object, **named: object) -> Evaluation:
        asked.append(path.name)
        return evaluate(path, *positional, **named)

    monkeypatch.setattr(module, "evaluate", counting)
    first = compare(runs)
    assert asked == ["popularity", "markov", "item-knn"]
    assert compare(runs) == first
    assert len(asked) == 3
    compare(runs, options=Options(seen="include"))
    assert len(asked) == 6
    # of other weights: an evaluation that was copied from another run counts for nothing
    (runs[0] / "evaluation/test/metrics.json").write_text((runs[1] / "evaluation/test/metrics.json").read_text())
    compare(runs, options=Options(seen="include"))
    assert asked[6:] == ["popularity"]
    (runs[0] / "evaluation/test/metrics.json").write_text("{")
    compare(runs, options=Options(seen="include"))
    assert asked[7:] == ["popularity"]


def test_different_protocols_are_refused_and_named(tmp_path: Path, dataset: Dataset, runs: list[Path]) -> None:
    timed = write_run(tmp_path / "runs/timed", dataset, "popularity", protocol="time")
    with pytest.raises(ConfigError, match=r"differ in split \(last and time\).*request_time") as error:
        compare([runs[1], timed])
    assert error.value.exit_code == 2
    refit = write_run(tmp_path / "runs/refit", dataset, "popularity", protocol="last", refit=True)
    with pytest.raises(ConfigError, match=r"differ in refit \(False and True\)"):
        compare([runs[1], refit])
    told = write_run(tmp_path / "runs/told", dataset, "popularity", protocol="last", request_time="target")
    with pytest.raises(ConfigError, match=r"differ in request_time \(none and target\)"):
        compare([runs[1], told])


def test_different_data_sets_are_refused(tmp_path: Path, runs: list[Path]) -> None:
    other = write_dataset(tmp_path / "other", [[1, 2, 3, 4]] * 5, V)
    elsewhere = write_run(tmp_path / "runs/elsewhere", other, "popularity", protocol="last")
    with pytest.raises(ConfigError, match="dataset"):
        compare([runs[0], elsewhere])
    with pytest.raises(FormatError, match="was trained on data set"):
        compare([runs[0]], dataset=other.path)


def test_labels_tell_rows_apart(tmp_path: Path, dataset: Dataset, runs: list[Path]) -> None:
    twin = write_run(tmp_path / "runs/second", dataset, "markov", protocol="last")
    assert {row.label for row in compare([runs[1], twin]).rows} == {"markov", "second"}
    same_name = write_run(tmp_path / "more/markov", dataset, "markov", protocol="last")
    assert {row.label for row in compare([runs[1], same_name]).rows} == {str(runs[1]), str(same_name)}
    with pytest.raises(ConfigError, match="given twice"):
        compare([runs[1], runs[1]])
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])


def test_curves_and_speed_come_from_the_metrics_file(runs: list[Path]) -> None:
    lines = [
        {"kind": "train", "step": 1, "events_per_second": 100.0, "loss": 2.0},
        {"kind": "train", "step": 2, "events_per_second": 300.0, "loss": 1.0},
        {"kind": "validation", "step": 2, "epoch": 1.0, "ndcg@10": 0.5},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (runs[0] / "metrics.jsonl").write_text(text + '{"kind": "tra')  # a kill cut the last line short
    result = compare(runs)
    assert result.curves["popularity"] == lines
    assert result.curves["markov"] == []
    speeds = {row.label: row.events_per_second for row in result.rows}
    assert speeds == {"popularity": 200.0, "markov": None, "item-knn": None}


def test_the_audit_is_of_the_shared_split(runs: list[Path]) -> None:
    audit = compare(runs[:1], audit=True).audit
    assert audit is not None
    assert audit["format"] == "onward.audit/1"


@pytest.fixture
def several(tmp_path: Path, dataset: Dataset) -> Path:
    """A model of chance with three seeds, as `onward train --seeds` leaves it."""
    for seed in range(3):
        write_run(tmp_path / f"several/seed-{seed}", dataset, "random", seed=seed, protocol="last")
    return tmp_path / "several"


def test_a_folder_of_seeds_is_one_row_the_mean_of_its_runs(runs: list[Path], several: Path) -> None:
    result = compare([runs[1], several])
    row = next(row for row in result.rows if row.label == "random")
    assert [(one.seed, Path(one.path).name) for one in row.seeds] == [(0, "seed-0"), (1, "seed-1"), (2, "seed-2")]
    assert row.run == str(several / "seed-0")
    single = [evaluate(several / f"seed-{seed}") for seed in range(3)]
    for name, estimate in row.evaluation.metrics.items():
        values = [one.metrics[name].value for one in single]
        assert [one.metrics[name] for one in row.seeds] == values
        assert estimate.value == pytest.approx(np.mean(values))
    test = result.test("random", "ndcg@10")
    assert test is not None
    assert test.difference.value == pytest.approx(
        row.evaluation.metrics["ndcg@10"].value - result.rows[0].evaluation.metrics["ndcg@10"].value
    )
    assert test.difference.low < test.difference.value < test.difference.high < 0
    means = np.mean([one.table["ndcg@10"].to_numpy() for one in single], axis=0)
    assert row.evaluation.table["ndcg@10"].to_numpy() == pytest.approx(means)
    assert row.evaluation.user_metrics["hr@5"].value == pytest.approx(
        np.mean([one.user_metrics["hr@5"].value for one in single])
    )
    bucket, *_ = row.evaluation.slices["history_length"]
    assert bucket.metrics["ndcg@10"].value == pytest.approx(
        np.mean([one.slices["history_length"][0].metrics["ndcg@10"].value for one in single])
    )
    assert row.evaluation.lists["coverage@10"] == pytest.approx(np.mean([one.lists["coverage@10"] for one in single]))


def test_a_folder_of_seeds_alone_and_as_the_baseline(runs: list[Path], several: Path) -> None:
    assert [row.label for row in compare([several]).rows] == ["random"]
    turned = compare([runs[1], several], baseline=str(several))
    assert turned.baseline == "random"
    up, down = turned.test("markov", "hr@5"), compare([runs[1], several]).test("random", "hr@5")
    assert up is not None
    assert down is not None
    assert up.difference.low == pytest.approx(-down.difference.high)
    assert up.p_value == pytest.approx(down.p_value)


def test_seeds_of_other_settings_are_no_seeds(tmp_path: Path, dataset: Dataset, several: Path) -> None:
    write_run(several / "seed-3", dataset, "random", seed=3, protocol="last", refit=True)
    with pytest.raises(ConfigError, match=r"differ in more than their seed: split.refit is False there, True here"):
        compare([several])
    with pytest.raises(FormatError, match="runs of several seeds"):
        evaluate(several)


def test_what_can_be_found_follows_from_the_test(runs: list[Path], several: Path) -> None:
    from scipy import stats

    result = compare([*runs, several])
    for test in result.tests:
        if test.label == "random":
            continue
        # the interval's half width is 1.96 standard errors, about, as the bootstrap's ends are no normal's
        error = (test.difference.high - test.difference.low) / (2 * 1.96)
        multiple = stats.t.ppf(1 - 0.05 / 6, 59) + stats.t.ppf(0.8, 59)  # three tests share the level
        assert test.detectable == pytest.approx(multiple * error, rel=0.15)
    alone = compare(runs[:2]).test("popularity", "ndcg@10")
    among = result.test("popularity", "ndcg@10")
    assert alone is not None
    assert among is not None
    assert alone.detectable is not None
    assert among.detectable is not None
    assert alone.detectable < among.detectable
