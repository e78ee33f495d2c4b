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
from torch.nn.functional import gelu

from onward.config import TrainConfig
from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import build, make_items
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.testing.small_models import MANIFEST

V = 9
SETTINGS = {"width": 6, "dropout": 0.0, "max_length": 5, "repeat": True}


DAY = 86_400_000_000


def _data(grouped: bool, timed: bool = False) -> Histories:
    columns: dict[str, np.ndarray] = {"item": np.array([1, 2, 1, 3, 2, 1, 5, 5, 4, 6, 4], np.int32)}
    if grouped:
        columns["group"] = np.array([0, 0, 1, 1, 2, 3, 4, 5, 5, 6, 7], np.int32)
    if timed:
        columns["time"] = np.array([0, 0, 3, 3, 4, 9, 1, 8, 8, 8, 70]) * DAY
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


def _record(item: int, seen: list[list[int]], days: list[float]) -> list[float]:
    """The numbers of one item, the slow way; `days` are those from each step to the request."""
    ages = [len(seen) - 1 - step for step, members in enumerate(seen) for one in members if one == item]
    since = [days[step] for step, members in enumerate(seen) for one in members if one == item]
    numbers = [
        len(ages),
        *(sum(0.5 ** (age / half) for age in ages) for half in (2, 8, 32)),
        *(sum(0.5 ** (day / half) for day in since) for half in (7, 28, 112)),
        min(ages),
        min(since),
        (max(since) - min(since)) / max(1, len(ages) - 1),
        max(since),
        len(seen) - 1,
    ]
    return [math.log1p(number) for number in numbers]


def _plain(model: SequenceModel, state: Tensor, seen: list[list[int]], days: list[float]) -> Tensor:
    """(V + 1,) probabilities after a state, the slow way: `seen` are the steps up to it, oldest first."""
    assert model.repeat is not None
    layer, table = model.repeat, model.input.weight
    explored = torch.cat([table.new_zeros(1), (table[1:] @ state + model.output_bias[1:]).softmax(0)])
    members = [item for step in seen for item in step]
    items = sorted(set(members))
    logits = []
    for item in items:
        content = layer.query(state) @ layer.key(table[item]) / math.sqrt(len(state))
        hidden = layer.state_hidden(state) + layer.item_hidden(table[item])
        hidden = hidden + layer.record_hidden(table.new_tensor(_record(item, seen, days)))
        logits.append(content + layer.record(gelu(hidden))[0] + math.log(members.count(item)))
    repeated = torch.zeros_like(explored).index_add(0, torch.tensor(items), torch.stack(logits).softmax(0))
    sizes = table.new_tensor([math.log1p(len(items)), math.log1p(len(members))])
    gate = layer.gate(torch.cat([state, sizes])).sigmoid()
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


def _seen(batch: Batch) -> list[tuple[list[list[int]], list[float]]]:
    """After each step, all steps up to it, and the days from each of them to the request."""
    wanted = batch.times if batch.request_times is None else batch.request_times
    found, first = [], 0
    for row in _steps_of(batch):
        for step in range(len(row)):
            days = [0.0] * (step + 1)
            if batch.times is not None and wanted is not None:
                now = wanted[first + step]
                days = [float(now - batch.times[first + before]) / DAY for before in range(step + 1)]
            found.append((row[: step + 1], days))
        first += len(row)
    return found


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("told", ["none", "target", ""])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "gru"])
def test_loss_and_gradients_are_those_of_the_plain_mixture(name: str, grouped: bool, told: str, prefix: bool) -> None:
    model = _model(name)
    steps = Steps(_data(grouped, timed=bool(told)), "target" if told == "target" else "none")
    batch = steps.train(steps.start, steps.end - 1, prefix)
    batch = replace(batch, target_weights=batch.target_weights.double())
    states = model.states(batch)
    seen = _seen(batch)
    after = range(len(batch.targets)) if batch.target_steps is None else batch.target_steps.tolist()
    chances = torch.stack(
        [
            _plain(model, states[step], *seen[step])[target]
            for step, target in zip(after, batch.targets.tolist(), strict=True)
        ]
    )
    wanted = -(chances.log() * batch.target_weights).sum() / batch.target_weights.sum()
    loss = model.loss(batch)
    torch.testing.assert_close(loss, wanted)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(wanted, parameters, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(torch.autograd.grad(loss, parameters), expected)


@pytest.mark.parametrize("told", ["none", "target", ""])
@pytest.mark.parametrize("grouped", [False, True])
def test_answers_are_the_plain_mixture(grouped: bool, told: str) -> None:
    model, data = _model(), _data(grouped, timed=bool(told))
    at = np.array([12, 71]) * DAY if told == "target" else None
    newest = replace(data.newest(3), at=at)  # of the second history, in baskets, one of a basket of two is left out
    steps = Steps(newest)
    batch = steps.encode(steps.start, steps.end, at)
    newest_step = (batch.lengths.cumsum(0) - 1).tolist()
    with torch.no_grad():
        scores = model.score_histories(newest)
        for row, state, step in zip(scores, model.last_states(newest), newest_step, strict=True):
            torch.testing.assert_close(row, _plain(model, state, *_seen(batch)[step]).log().float())


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


def test_an_empty_history_is_only_explored() -> None:
    model, data = _model(), _data(grouped=True, timed=True)
    assert model.repeat is not None
    some = replace(data, start=np.array([0, 6, 6]), end=np.array([6, 6, 11]), at=np.array([20, 20, 80]) * DAY)
    states, logits = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, V + 1, dtype=torch.float64)
    with torch.no_grad():
        mixed = model.repeat.mix(logits.clone(), states, some, 5, model.input.weight)
        alone = model.repeat.mix(logits[2:].clone(), states[2:], some.select(np.array([2])), 5, model.input.weight)
    torch.testing.assert_close(mixed[1, 1:], logits[1, 1:].log_softmax(0))
    torch.testing.assert_close(mixed[2:], alone)


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
    from onward.models.onnx_export import why_not
    from onward.serve.lists.scoring import Scorer

    model = _model().float()
    config = RunConfig(model={"name": "sasrec", **model.config.model_dump(mode="json")})
    catalog = Catalog(pl.DataFrame({"item": [str(number) for number in range(1, V + 1)]}))
    write_bundle(tmp_path / "model", model, catalog, config, MANIFEST, {})
    bundle = load_bundle(tmp_path / "model")
    scorer, asked = Scorer(bundle), Histories.from_lists([[1, 2, 1], [5]], V)
    assert torch.equal(scorer.scores(asked)[:, 1:], model.score(asked)[:, 1:])
    assert not scorer.has_states
    assert "repeats items of the history" in (why_not(bundle.model, False) or "")
