"""Repeat or explore: the mixture against its plain formulation, baskets, gradients, and what it is for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from onward.config import TrainConfig
from onward.data.batches import Batch, Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel

V = 9
SETTINGS = {"width": 6, "dropout": 0.0, "max_length": 5, "repeat": True}


def _data(grouped: bool) -> Histories:
    columns = {"item": np.array([1, 2, 1, 3, 2, 1, 5, 5, 4, 6, 4], np.int32)}
    if grouped:
        columns["group"] = np.array([0, 0, 1, 1, 2, 3, 4, 5, 5, 6, 7], np.int32)
    return Histories(columns, np.array([0, 6]), np.array([6, 11]), V)


def _model(name: str = "sasrec", **settings: object) -> SequenceModel:
    torch.manual_seed(3)
    data = _data(grouped=False)
    model = build(model_class(name), {**SETTINGS, **settings}, make_items(data, np.arange(V + 1, dtype=np.int32)))
    assert isinstance(model, SequenceModel)
    model.double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def _plain(model: SequenceModel, state: Tensor, seen: list[list[int]]) -> Tensor:
    """(V + 1,) probabilities after a state, the slow way: `seen` are the steps up to it, oldest first."""
    assert model.repeat is not None
    layer, table = model.repeat, model.input.weight
    explored = torch.cat([table.new_zeros(1), (table[1:] @ state + model.output_bias[1:]).softmax(0)])
    slope = layer.recency(state)
    logits, items = [], []
    for back, members in enumerate(reversed(seen)):
        for item in members:
            age = math.log(1 + back)
            content = layer.query(state) @ layer.key(table[item]) / math.sqrt(len(state))
            logits.append(content + slope[0] * age + slope[1] * age**2)
            items.append(item)
    repeated = torch.zeros_like(explored).index_add(0, torch.tensor(items), torch.stack(logits).softmax(0))
    gate = layer.gate(state).sigmoid()
    return gate * explored + (1 - gate) * repeated


def _steps_of(batch: Batch) -> list[list[list[int]]]:
    """Items of each step of each row."""
    first = list(range(len(batch.items))) if batch.bags is None else batch.bags.tolist()
    ends = [*first[1:], len(batch.items)]
    steps = [batch.items[begin:end].tolist() for begin, end in zip(first, ends, strict=True)]
    rows, begin = [], 0
    for length in batch.lengths.tolist():
        rows.append(steps[begin : begin + length])
        begin += length
    return rows


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "gru"])
def test_loss_and_gradients_are_those_of_the_plain_mixture(name: str, grouped: bool, prefix: bool) -> None:
    model = _model(name)
    steps = Steps(_data(grouped))
    batch = steps.train(steps.start, steps.end - 1, prefix)
    batch = replace(batch, target_weights=batch.target_weights.double())
    states = model.states(batch)
    rows = _steps_of(batch)
    seen = [row[: step + 1] for row in rows for step in range(len(row))]
    after = range(len(batch.targets)) if batch.target_steps is None else batch.target_steps.tolist()
    chances = torch.stack(
        [
            _plain(model, states[step], seen[step])[target]
            for step, target in zip(after, batch.targets.tolist(), strict=True)
        ]
    )
    wanted = -(chances.log() * batch.target_weights).sum() / batch.target_weights.sum()
    loss = model.loss(batch)
    torch.testing.assert_close(loss, wanted)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(wanted, parameters, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(torch.autograd.grad(loss, parameters), expected)


@pytest.mark.parametrize("grouped", [False, True])
def test_answers_are_the_plain_mixture(grouped: bool) -> None:
    model, data = _model(), _data(grouped)
    newest = data.newest(3)  # of the second history, in baskets, the last of a basket of two is not among them
    steps = Steps(newest)
    rows = _steps_of(steps.encode(steps.start, steps.end))
    with torch.no_grad():
        scores = model.score_histories(newest)
        for row, state, seen in zip(scores, model.last_states(newest), rows, strict=True):
            torch.testing.assert_close(row, _plain(model, state, seen).log().float())


def test_only_the_newest_steps_that_the_encoder_reads_are_repeated() -> None:
    model = _model()
    scores = model.score_histories(Histories.from_lists([[7, 1, 2, 3, 4, 5], [8, 1, 2, 3, 4, 5]], V))
    assert torch.equal(scores[0], scores[1])  # max_length is 5


def test_a_target_that_opens_its_history_can_only_be_explored() -> None:
    model, data = _model(), _data(grouped=True)
    steps = Steps(data, opens=True)
    batch = steps.train(steps.start, steps.end - 1)
    asked, owners = batch.asked()
    assert asked is not None
    assert model.repeat is not None
    states = torch.randn(len(asked), 6, dtype=torch.float64)
    explore, repeat = model.repeat.mixture(states, batch, asked, owners, model.input.weight)
    assert batch.target_steps is not None
    opening = batch.target_steps >= int(batch.lengths.sum())
    assert opening.any()
    assert (explore[opening] == 0).all()
    assert torch.isneginf(repeat[opening]).all()
    assert (explore[~opening] < 0).all()


def test_it_starts_as_how_often_each_item_occurs() -> None:
    torch.manual_seed(0)
    data = _data(grouped=False)
    model = build(model_class("gru"), SETTINGS, make_items(data, np.arange(V + 1, dtype=np.int32)))
    with torch.no_grad():
        scores = model.score_histories(Histories.from_lists([[3, 3, 2, 3]], V)).exp()[0]
    explored = scores[8].item()  # an item of neither
    assert scores[3].item() - explored == pytest.approx(0.5 * 3 / 4, abs=0.01)
    assert scores[2].item() - explored == pytest.approx(0.5 * 1 / 4, abs=0.01)


def test_it_learns_to_repeat_where_repeating_is_all_there_is(tmp_path: Path) -> None:
    from onward.train.display import Display
    from onward.train.loop import train_model

    rng = np.random.default_rng(0)
    items = 60
    own = rng.permuted(np.tile(np.arange(1, items + 1), (300, 1)), axis=1)[:, :3]  # each user has three favourites
    lists = [row[rng.integers(0, 3, 12)].tolist() for row in own]
    training, asked = Histories.from_lists([row[:-1] for row in lists[:250]], items), lists[250:]
    found = {}
    for repeat in (False, True):
        torch.manual_seed(0)
        settings = {"width": 16, "max_length": 20, "repeat": repeat}
        model = build(model_class("sasrec"), settings, make_items(training, np.arange(items + 1, dtype=np.int32)))
        folder = tmp_path / str(repeat)
        (folder / "checkpoints").mkdir(parents=True)
        config = TrainConfig(epochs=6, learning_rate=0.01, warmup_steps=5, batch_tokens=256)
        train_model(model, training, None, config, 0, folder, Display("", shown=False))
        lists_ = model.recommend(Histories.from_lists([row[:-1] for row in asked], items), k=3, seen="include")
        found[repeat] = np.mean([row[-1] in top for row, top in zip(asked, lists_.items.tolist(), strict=True)])
    assert found[True] > 0.95  # users that it never saw
    assert found[False] < 0.7


def test_what_repeating_can_not_be_learned_with_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"not by model\.loss = 'bce'"):
        _model(loss="bce")
    with pytest.raises(ConfigError, match="what it hides"):
        _model("bert4rec")


def test_a_server_scores_it_as_evaluation_does(tmp_path: Path) -> None:
    from onward.bundle import load_bundle, write_bundle
    from onward.config import RunConfig
    from onward.data.catalog import Catalog
    from onward.data.dataset import Manifest
    from onward.serve.lists.onnx import why_not
    from onward.serve.lists.scoring import Scorer

    model = _model().float()
    config = RunConfig(model={"name": "sasrec", **model.config.model_dump(mode="json")})
    catalog = Catalog(pl.DataFrame({"item": [str(number) for number in range(1, V + 1)]}))
    manifest = Manifest(
        hash="0" * 64,
        users=1,
        items=V,
        events=1,
        rejected=0,
        sources=[],
        roles={},
        columns=["item"],
        repeat_share=0.5,
        seen="include",
        duplicates="keep",
        duplicate_rows=0,
        files={},
    )
    write_bundle(tmp_path / "model", model, catalog, config, manifest, {})
    bundle = load_bundle(tmp_path / "model")
    scorer, asked = Scorer(bundle), Histories.from_lists([[1, 2, 1], [5]], V)
    assert torch.equal(scorer.scores(asked)[:, 1:], model.score(asked)[:, 1:])
    assert not scorer.has_states
    assert "repeats items of the history" in (why_not(bundle) or "")
