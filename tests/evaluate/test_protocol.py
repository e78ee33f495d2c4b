"""Evaluating a run: its own split and data set only, everything stated, everything counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_helpers import write_dataset, write_run

from onward.bundle import add_metrics, export, load_bundle
from onward.config import SplitConfig
from onward.data.dataset import Dataset, open_dataset
from onward.data.split import split
from onward.errors import ConfigError, DataError, FormatError
from onward.evaluate.options import KS
from onward.evaluate.protocol import evaluate
from onward.evaluate.results import Evaluation, read_evaluation
from onward.evaluate.validate import validation_metrics
from onward.manifest import Measurement

V = 30


def some_lists(users: int = 40, seed: int = 0) -> list[list[int]]:
    """Walks over the catalog in which an item is mostly followed by the next; lengths from 1 to 12."""
    generator = np.random.default_rng(seed)
    lists = []
    for _ in range(users):
        steps = generator.choice([1, 1, 1, 2, 7], size=generator.integers(1, 13))
        lists.append(((generator.integers(0, V) + np.cumsum(steps)) % V + 1).tolist())
    return lists


def shuffled_times(lists: list[list[int]], seed: int = 0) -> np.ndarray:
    """Times that interleave the users, ascending within each."""
    generator = np.random.default_rng(seed)
    return np.concatenate([np.sort(generator.integers(0, 10**6, len(one))) for one in lists])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    lists = some_lists()
    return write_dataset(tmp_path / "data", lists, V, time=shuffled_times(lists))


@pytest.fixture
def run(tmp_path: Path, dataset: Dataset) -> Path:
    return write_run(tmp_path / "run", dataset, "markov", protocol="last")


@pytest.mark.parametrize("protocol", ["last", "time", "users"])
@pytest.mark.parametrize("model", ["popularity", "markov", "item-knn"])
def test_evaluate_agrees_with_what_training_watches(
    tmp_path: Path, dataset: Dataset, model: str, protocol: str
) -> None:
    run = write_run(tmp_path / "run", dataset, model, protocol=protocol)
    bundle = load_bundle(run)
    divided = split(dataset.histories, bundle.manifest.split)
    for part in ("valid", "test"):
        result = evaluate(run, part=part)
        watched = validation_metrics(bundle.model, dataset.histories, getattr(divided, part), "exclude", KS)
        assert {name: value.value for name, value in result.metrics.items()} == pytest.approx(watched)
        assert result.requests == len(getattr(divided, part)) == result.table.height
        assert result.users == len(np.unique(getattr(divided, part).user))


def test_the_result_states_its_protocol(tmp_path: Path, dataset: Dataset) -> None:
    run = write_run(tmp_path / "run", dataset, "popularity", protocol="time")
    protocol = evaluate(run, seen="include", ks=[1, 10], seed=4).protocol
    resolved = load_bundle(run).manifest.split
    assert protocol == {
        "split": "time",
        "valid_from": resolved.valid_from,
        "test_from": resolved.test_from,
        "part": "test",
        "refit": False,
        "dataset": dataset.manifest.hash,
        "external": False,
        "candidates": "items seen in training",
        "candidate_items": int(load_bundle(run).model.items.candidates.sum()),
        "ties": "expectation over a random order",
        "targets": "one event each",
        "request_time": "target",
        "seen": "include",
        "cold": "miss",
        "ks": [1, 10],
        "threshold": 0.75,
        "decision": "best F1 on validation",
        "intervals": "95%, users resampled, seed 4",
    }
    assert (
        evaluate(write_run(tmp_path / "other", dataset, "popularity", protocol="last")).protocol["request_time"]
        == "none"
    )


def test_means_tables_and_slices_agree(run: Path) -> None:
    result = evaluate(run)
    table = result.table
    for name, value in result.metrics.items():
        assert table[name].mean() == pytest.approx(value.value)
        assert value.low <= value.value <= value.high
        by_user = table.group_by("user").agg(pl.col(name).mean())[name].mean()
        assert by_user == pytest.approx(result.user_metrics[name].value)
    for name, key in (("history_length", "history_length"), ("target_popularity", "target_popularity")):
        rows = result.slices[name]
        assert sum(row.requests for row in rows) == result.requests, key
        total = sum(row.requests * row.metrics["ndcg@10"].value for row in rows)
        assert total / result.requests == pytest.approx(result.metrics["ndcg@10"].value)
    short = next(row for row in result.slices["history_length"] if row.label == "1-4")
    inside = table.filter(pl.col("history_length").is_between(1, 4))
    assert (short.requests, short.users) == (inside.height, inside["user"].n_unique())
    assert short.metrics["hr@10"].value == pytest.approx(inside["hr@10"].mean())


def test_the_table_names_users_targets_and_ranks(run: Path, dataset: Dataset) -> None:
    table = evaluate(run).table
    assert table.columns[:6] == ["user", "history_length", "target_popularity", "targets", "above", "tied"]
    last = {f"u{i}": f"i{one[-1]:03}" for i, one in enumerate(some_lists()) if len(one) >= 3}
    assert dict(zip(table["user"], table["targets"].list.first(), strict=True)) == last
    counts = load_bundle(run).model.items.train_counts
    expected = [counts[int(item[1:])] for item in table["targets"].list.first()]
    assert table["target_popularity"].to_list() == expected


def test_counts_of_what_the_means_hide(tmp_path: Path) -> None:
    # user 3 repeats an item; user 4's last item is nowhere in training; user 5 is too short
    lists = [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [1, 2, 3, 1], [1, 2, 3, 5], [1, 2]]
    dataset = write_dataset(tmp_path / "data", lists, 5)
    result = evaluate(write_run(tmp_path / "run", dataset, "popularity", protocol="last"))
    assert result.counts == {
        "targets": 5,
        "cold_targets": 1,
        "dropped_cold_targets": 0,
        "seen_targets": 1,
        "too_short_users": 1,
        "empty_histories": 0,
        "interest_pairs": 0,
    }
    misses = result.table.filter(pl.col("user").is_in(["u3", "u4"]))
    assert misses["tied"].list.first().to_list() == [0, 0]
    assert misses["ndcg@20"].to_list() == [0, 0]


def test_cold_targets_are_dropped_only_when_asked(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [1, 2, 3, 5]], 5)
    run = write_run(tmp_path / "run", dataset, "popularity", protocol="last")
    kept, dropped = evaluate(run), evaluate(run, cold="drop")
    assert (kept.requests, dropped.requests, dropped.users) == (4, 3, 3)
    assert dropped.counts["dropped_cold_targets"] == 1
    assert dropped.protocol["cold"] == "drop"
    assert kept.metrics["hr@10"].value * 4 == pytest.approx(dropped.metrics["hr@10"].value * 3)
    assert "u3" not in dropped.table["user"]


def test_only_cold_targets_to_drop_is_an_error(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [[1, 2, 3, 4], [1, 2, 3, 5]], 5)
    with pytest.raises(DataError, match="every target"):
        evaluate(write_run(tmp_path / "run", dataset, "popularity", protocol="last"), cold="drop")


def test_empty_histories_are_evaluated_and_counted(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [[1, 2, 3, 1, 2, 3, 1, 2], [1, 2]], 3)
    result = evaluate(write_run(tmp_path / "run", dataset, "markov", protocol="time"))
    # the last event is user 1's second; its first is validation, so nothing of user 1 trains
    assert result.requests == 1
    assert result.counts["empty_histories"] == 0
    valid = evaluate(tmp_path / "run", part="valid")
    assert valid.counts["empty_histories"] == 1
    assert valid.slices["history_length"][0].label == "0"
    assert valid.metrics["hr@5"].value == 1.0  # popularity answers: item 1 is among the three


def test_groups_are_sets_of_targets(tmp_path: Path) -> None:
    lists = [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2]]
    group = np.array([0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8], dtype=np.int32)
    dataset = write_dataset(tmp_path / "data", lists, 4, group=group, seen="include")
    result = evaluate(write_run(tmp_path / "run", dataset, "popularity", protocol="last"))
    assert result.protocol["targets"] == "one group each"
    assert result.counts["targets"] == 6
    assert result.table["targets"].to_list() == [["i003", "i004"], ["i001", "i004"], ["i001", "i002"]]
    # training is items 1, 2, 3 once each, tied; item 4 is cold
    assert result.metrics["recall@5"].value == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_a_constant_model_scores_like_a_random_one(tmp_path: Path) -> None:
    """Popularity on items of equal count: the metric is its mean over all orders, not that of the index order."""
    lists = [[i, i % 10 + 1, (i + 1) % 10 + 1, (i + 4) % 10 + 1] for i in range(1, 11)]
    dataset = write_dataset(tmp_path / "data", lists, 10, seen="include")
    result = evaluate(write_run(tmp_path / "run", dataset, "popularity", protocol="last"))
    assert result.metrics["hr@5"].value == pytest.approx(0.5)
    assert result.metrics["accuracy@1"].value == pytest.approx(0.1)


def test_the_test_part_never_reaches_the_model(tmp_path: Path) -> None:
    lists = some_lists()
    other = [[*one[:-1], one[-1] % V + 1] if len(one) >= 3 else one for one in lists]
    first = write_dataset(tmp_path / "a", lists, V)
    second = write_dataset(tmp_path / "b", other, V)
    states = []
    for dataset in (first, second):
        run = write_run(tmp_path / f"run-{dataset.path.name}", dataset, "markov", protocol="last")
        states.append(load_bundle(run).model.state())
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


def test_a_run_keeps_its_evaluation(run: Path) -> None:
    result = evaluate(run)
    folder = run / "evaluation/test"
    assert sorted(file.name for file in folder.iterdir()) == ["metrics.json", "requests.parquet"]
    stored = read_evaluation(folder)
    assert stored == result
    assert stored.table.equals(result.table)
    assert json.loads((folder / "metrics.json").read_text()) == result.as_dict()
    again = evaluate(run, seen="include")
    assert read_evaluation(folder).protocol["seen"] == "include"
    assert again.metrics != result.metrics


def test_export_carries_the_evaluation(run: Path, tmp_path: Path) -> None:
    result = evaluate(run)
    bundle = load_bundle(export(run, tmp_path / "model"))
    assert bundle.manifest.metrics[0].protocol == result.protocol
    assert bundle.manifest.metrics[0].values["ndcg@10"] == result.as_dict()["metrics"]["ndcg@10"]
    assert evaluate(tmp_path / "model").metrics == result.metrics
    assert not (tmp_path / "model/evaluation").exists()


def test_the_seed_decides_the_intervals_and_nothing_else(run: Path) -> None:
    first, same, other = evaluate(run, seed=1), evaluate(run, seed=1), evaluate(run, seed=2)
    assert first == same
    assert first.metrics != other.metrics
    assert {k: v.value for k, v in first.metrics.items()} == {k: v.value for k, v in other.metrics.items()}


def test_another_split_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="trained for protocol 'last', and another split \\('time'\\)") as error:
        evaluate(run, protocol="time")
    assert error.value.exit_code == 2
    assert evaluate(run, protocol="last").protocol["split"] == "last"


def test_another_dataset_is_refused(run: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", some_lists(seed=1), V)
    with pytest.raises(FormatError, match="was trained on data set") as error:
        evaluate(run, other.path)
    assert "--external" in error.value.hint
    assert not (run / "evaluation").exists()


def test_a_dataset_that_moved_is_asked_for(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    moved = dataset.path.rename(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="no longer at"):
        evaluate(run)
    assert evaluate(run, moved).requests > 0


def test_refit_has_no_validation_part(tmp_path: Path, dataset: Dataset) -> None:
    run = write_run(tmp_path / "run", dataset, "popularity", protocol="last", refit=True)
    with pytest.raises(ConfigError, match="refit"):
        evaluate(run, part="valid")
    assert evaluate(run).protocol["refit"] is True


def test_a_model_of_all_events_is_not_evaluated_and_shows_what_it_carries(tmp_path: Path, dataset: Dataset) -> None:
    chosen = evaluate(write_run(tmp_path / "chosen", dataset, "popularity", protocol="time"))
    run = write_run(tmp_path / "run", dataset, "popularity", protocol="all")
    with pytest.raises(ConfigError, match="It carries no metrics"):
        evaluate(run)
    values = chosen.as_dict()["metrics"]
    add_metrics(run, [Measurement(part="test", protocol=chosen.protocol, values=values)])
    with pytest.raises(ConfigError, match=f"ndcg@10 {values['ndcg@10']['value']:.4f}.*protocol 'time'"):
        evaluate(run)


def test_external_data_is_matched_by_item_id(run: Path, tmp_path: Path) -> None:
    """The same histories with the catalog in another order and unknown items in it give the same ranks."""
    lists = some_lists(seed=7)
    order = np.random.default_rng(0).permutation(V) + 1
    new_index = {int(item): i for i, item in enumerate(order, 2)}
    frame = pl.DataFrame({"item": ["new-a", *(f"i{item:03}" for item in order), "new-b"]})
    moved = [[new_index[item] for item in one] for one in lists]
    with_unknown = [[1, *one[:-1], V + 2, one[-1]] for one in moved]
    plain = write_dataset(tmp_path / "plain", lists, V)
    other = write_dataset(tmp_path / "other", with_unknown, V, items=frame)
    expected = evaluate(run, plain.path, external=True, protocol="users")
    assert expected.protocol["external"] is True
    assert expected.protocol["request_time"] == "none"  # as it was trained; 'users' by itself would tell the target's
    assert not (run / "evaluation").exists()
    # under 'last' only the event before the target was added, the first stays a user's first
    a = evaluate(run, plain.path, external=True, protocol="last").table
    b = evaluate(run, other.path, external=True, protocol="last")
    joined = a.join(b.table, on="user", suffix="_b")
    assert joined.height == a.height > 0
    for name in ("targets", "above", "tied", "history_length"):
        assert joined[name].to_list() == joined[f"{name}_b"].to_list()
    assert b.counts["unknown_history_events"] == 2 * b.requests


def test_an_unknown_external_target_is_cold(run: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", [[1, 2, 3], [1, 2, 1]], 3, prefix="new")
    result = evaluate(run, other.path, external=True)
    assert result.counts["cold_targets"] == 2
    assert result.counts["empty_histories"] == 2
    assert result.table["targets"].to_list() == [["new003"], ["new001"]]


def test_external_needs_a_dataset_that_is_another(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not named"):
        evaluate(run, external=True)
    with pytest.raises(ConfigError, match="the very data set"):
        evaluate(run, dataset.path, external=True)
    other = write_dataset(tmp_path / "other", some_lists(seed=1), V)
    everything = write_run(tmp_path / "all", dataset, "popularity", protocol="all")
    with pytest.raises(ConfigError, match="which events"):
        evaluate(everything, other.path, external=True)
    assert evaluate(everything, other.path, external=True, protocol=SplitConfig(protocol="last")).requests > 0
    with pytest.raises(ConfigError, match="leaves nothing to predict"):
        evaluate(run, other.path, external=True, protocol="all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "train"}, "unknown part 'train'"),
        ({"seen": "exlude"}, "did you mean 'exclude'"),
        ({"cold": "keep"}, "unknown cold rule"),
        ({"ks": [0, 10]}, "whole numbers from 1"),
        ({"ks": []}, "whole numbers from 1"),
        ({"external": True, "dataset": "data", "protocol": "lats"}, "did you mean 'last'"),
    ],
)
def test_options_out_of_range_are_named(run: Path, tmp_path: Path, options: dict, message: str) -> None:
    if "dataset" in options:
        other = write_dataset(tmp_path / "other", some_lists(seed=1), V)
        options = {**options, "dataset": other.path}
    with pytest.raises(ConfigError, match=message):
        evaluate(run, **options)


def test_a_damaged_evaluation_is_named(run: Path) -> None:
    evaluate(run)
    folder = run / "evaluation/test"
    with pytest.raises(FormatError, match=r"metrics\.json is missing"):
        read_evaluation(run / "evaluation")
    values = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**values, "format": "onward.evaluation/2"}))
    with pytest.raises(FormatError, match=r"newer than onward\.evaluation/1"):
        read_evaluation(folder)
    (folder / "metrics.json").write_text("[]")
    with pytest.raises(FormatError, match="damaged"):
        read_evaluation(folder)


def test_a_field_added_later_is_passed_over(run: Path) -> None:
    result = evaluate(run)
    assert Evaluation.model_validate({**result.as_dict(), "added": 1}) == result


def test_python_reaches_the_numbers_by_name(run: Path, dataset: Dataset) -> None:
    import onward

    result = onward.evaluate(run, dataset.path)
    assert 0 <= result.metrics["ndcg@10"].low <= result.metrics["ndcg@10"].high <= 1
    assert open_dataset(dataset.path).manifest.hash == result.protocol["dataset"]
