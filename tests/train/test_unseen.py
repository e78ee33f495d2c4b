"""How far the scores of items without events are raised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from onward.bundle import load_bundle, read_manifest
from onward.data.dataset import Dataset
from onward.data.prepare import prepare
from onward.data.split import split
from onward.evaluate.metrics import request_metrics
from onward.evaluate.protocol import evaluate
from onward.evaluate.ranking import rank_targets
from onward.models.features.attach import histories_for
from onward.models.sequence import SequenceModel
from onward.progress import OnStep
from onward.train import unseen as unseen_scores
from onward.train.run import train
from onward.train.unseen import fit_shift, largest_shift

SETTINGS = ("train.epochs=2", "model.width=16", "train.warmup_steps=5", "train.learning_rate=0.02")
CUTS = ("split.valid_from=5000000000", "split.test_from=9000000000", "split.request_time=none")


def test_the_largest_shift_within_the_cost_by_hand() -> None:
    above = np.array([0, 1, 20])  # NDCG@10 of 1, 0.63 and 0
    gaps = np.full((3, 10), np.inf)
    gaps[0, :2], gaps[1, 0], gaps[2, :2] = [0.5, 2.0], 1.0, [-3.0, 0.1]
    gain = 1 / np.log2([2, 3, 4])
    whole = gain[0] + gain[1]
    # beyond 0.5 the first target falls to second place, beyond 1 the second to third, beyond 2 the first to third
    for shift, kept in ((0.5, whole), (1.0, 2 * gain[1]), (2.0, gain[1] + gain[2])):
        assert largest_shift(above, gaps, 1 - kept / whole + 1e-9) == shift
    assert largest_shift(above, gaps, 0.0) == 0.5
    assert largest_shift(above, gaps, 0.99) == 2.0
    # scores that cost too much as they are are lowered
    assert largest_shift(above, gaps - 0.6, 0.01) == pytest.approx(-0.1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Users like one of four kinds; every fifth item has no event before the validation."""
    random = np.random.default_rng(0)
    kind = np.arange(100) % 4
    rows = []
    for user in range(120):
        liked = random.permutation(np.flatnonzero(kind == user % 4))[:16]
        late = liked % 5 == 0
        rows += [(f"u{user:03}", f"i{item:02}", 1_000 + place) for place, item in enumerate(liked[~late][:8])]
        rows += [(f"u{user:03}", f"i{item:02}", 5_000 + place) for place, item in enumerate(liked[~late][8:10])]
        rows += [(f"u{user:03}", f"i{item:02}", 9_000 + place) for place, item in enumerate(liked[late])]
    events = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"i{item:02}" for item in range(100)], "kind": [f"k{one}" for one in kind]})
    folder = tmp_path_factory.mktemp("unseen") / "data"
    return prepare(events, folder, items=items, time="timestamp", time_unit="s")


def run(dataset: Dataset, out: Path, *settings: str) -> Path:
    asked = [*SETTINGS, *CUTS, "model.features=all", *settings]
    return train(dataset, "gru", out, protocol="time", settings=asked, progress=False).folder


def loaded(folder: Path) -> SequenceModel:
    model = load_bundle(folder).model
    assert isinstance(model, SequenceModel)
    return model


def test_training_raises_them_as_far_as_the_cost_allows(dataset: Dataset, tmp_path: Path) -> None:
    alone = "train.unseen_likeness=0"
    plain = loaded(run(dataset, tmp_path / "plain", "train.unseen_cost=0", alone))
    raised_run = run(dataset, tmp_path / "raised", "train.unseen_cost=0.1", alone)
    raised, histories = loaded(raised_run), histories_for(plain, dataset)
    divided = split(dataset.histories, read_manifest(raised_run / "model").split)
    unseen = ~plain.items.candidates
    unseen[0] = False
    requests = divided.valid.requests(histories)
    before, after = plain.score(requests), raised.score(requests)
    difference = (after - before)[:, torch.from_numpy(unseen)]
    shift = read_manifest(raised_run / "model").training["unseen_shift"]
    assert shift > 0
    torch.testing.assert_close(difference, torch.full_like(difference, shift), atol=1e-5, rtol=0)
    trained = torch.from_numpy(plain.items.candidates)
    torch.testing.assert_close(after[:, trained], before[:, trained])

    def kept(model: SequenceModel) -> float:
        every, alone = (
            request_metrics(rank_targets(model, histories, divided.valid, "exclude", candidates), (10,))["ndcg@10"]
            for candidates in (plain.items.candidates | unseen, plain.items.candidates)
        )
        return float(every.mean() / alone.mean())

    assert kept(raised) >= 0.9
    assert raised.featured is not None
    raised.featured.raise_unseen(1e-3)
    assert kept(raised) < 0.9  # a little more would cost too much
    found, other = (evaluate(folder, cold="items") for folder in (raised_run, tmp_path / "plain"))
    assert found.metrics["ndcg@10"].value > other.metrics["ndcg@10"].value
    assert found.among_cold == other.among_cold


def test_likeness_to_the_history_spreads_their_scores_as_far_as_asked(dataset: Dataset, tmp_path: Path) -> None:
    plain = loaded(run(dataset, tmp_path / "plain", "train.unseen_cost=0", "train.unseen_likeness=0"))
    folder = run(dataset, tmp_path / "alike", "train.unseen_cost=0", "train.unseen_likeness=0.5")
    alike, histories = loaded(folder), histories_for(plain, dataset)
    assert plain.likeness is None
    assert alike.likeness is not None
    assert alike.likeness.weight == read_manifest(folder / "model").training["unseen_weight"]
    divided = split(dataset.histories, read_manifest(folder / "model").split)
    requests = divided.valid.requests(histories)
    after = alike.score(requests)
    alike.likeness.weight = 0.0
    before = alike.score(requests)
    trained = torch.from_numpy(plain.items.candidates)
    torch.testing.assert_close(after[:, trained], plain.score(requests)[:, trained])
    unseen = ~trained
    unseen[0] = False
    assert alike.likeness.residuals is not None
    lent = alike.likeness.residuals.lent[unseen]
    taken = (before - plain.score(requests))[:, unseen]
    torch.testing.assert_close(taken, plain.last_states(requests) @ lent[:, :-1].T + lent[:, -1], atol=1e-4, rtol=1e-4)
    difference = (after - before)[:, unseen]
    spread = before[:, unseen].std(1).mean()
    torch.testing.assert_close(difference.std(1).mean(), 0.5 * spread, atol=1e-4, rtol=1e-4)
    # what is added for a kind, the more of it was in the history, the more
    liked = torch.tensor([int(user[1:]) % 4 for user in dataset.users["user"].gather(divided.valid.user)])
    kind = torch.tensor([int(one["kind"][1:]) for one in dataset.catalog.frame.iter_rows(named=True)])[unseen[1:]]
    assert kind[difference.argmax(1)].equal(liked)


@pytest.mark.parametrize("shown", [True, False])
def test_what_takes_long_says_how_far_it_is(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    calls: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def watched(what: str, given: OnStep | None) -> Iterator[OnStep]:
        assert (given is None) == shown
        yield lambda *at: calls.setdefault(what, []).append(at)

    monkeypatch.setattr(unseen_scores, "shown_progress", watched)
    settings = [*SETTINGS, *CUTS, "model.features=all", "train.epochs=1"]
    train(dataset, "gru", tmp_path / "run", protocol="time", settings=settings, progress=shown)
    assert list(calls) == ["items without events", "how high items without events score"]
    for steps in calls.values():
        assert steps[-1][0] == steps[-1][1] > 0


def test_likeness_is_that_of_the_model_as_it_is_now(dataset: Dataset, tmp_path: Path) -> None:
    model = loaded(run(dataset, tmp_path / "run"))
    assert model.likeness is not None
    assert any(name.startswith("likeness.") for name in model.state())
    model.train()  # weights may change
    assert model.likeness is None


def test_what_was_fitted_goes_with_the_settings_where_nothing_is_left_to_validate_on(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = run(dataset, tmp_path / "run")
    evaluate(folder)
    whole = train(dataset, "", tmp_path / "all", protocol="all", like=folder, progress=False)
    fitted, model = read_manifest(folder / "model").training, loaded(tmp_path / "all")
    assert whole.config.train.unseen_shift == fitted["unseen_shift"]
    assert whole.config.train.unseen_weight == fitted["unseen_weight"]
    assert model.likeness is not None
    assert model.likeness.weight == fitted["unseen_weight"]
    assert any("their scores are" in said for said in whole.features)


def test_nothing_is_said_where_no_item_is_unseen(dataset: Dataset, tmp_path: Path) -> None:
    model = loaded(run(dataset, tmp_path / "run"))
    divided = split(dataset.histories, read_manifest(tmp_path / "run" / "model").split)
    model.items = replace(model.items, train_counts=np.ones_like(model.items.train_counts))
    assert fit_shift(model, histories_for(model, dataset), divided.valid, "exclude", 0.05) is None


def test_a_model_of_ids_alone_has_nothing_to_raise(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", "model.features=none")
    assert "unseen_shift" not in json.loads((tmp_path / "run/model/manifest.json").read_text())["training"]
