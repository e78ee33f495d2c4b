"""What every trainable model must keep with a feature of every kind, beside what it keeps without."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from last_events import requests

from breaking import Breaking
from feature_data import USERS, V, fitted, items_of, make_source, training_of
from onward.bundle import load_bundle, write_bundle
from onward.config import RunConfig, TrainConfig
from onward.data.batches import Steps
from onward.data.catalog import Catalog
from onward.data.sequences import Histories
from onward.models.base import build
from onward.models.registry import MODELS, model_class
from onward.models.sequence import SequenceModel
from onward.testing.small_models import MANIFEST, close
from onward.train.loop import train_model

TRAINABLE = [name for name in MODELS if model_class(name).traits.trainable]
SMALL = {"width": 16, "max_length": 6, "dropout": 0.1}
LOSSES = [{}, {"loss": "sampled_softmax", "negatives": 8}, {"output": "separate"}]


def make(name: str, settings: Mapping[str, object] = SMALL, groups: bool = False) -> tuple[SequenceModel, Histories]:
    """An untrained model with all features, and all histories as it reads them."""
    source = make_source(groups=groups)
    columns, histories = fitted(source, told=True)
    torch.manual_seed(1)
    model = build(model_class(name), settings, items_of(source))
    assert isinstance(model, SequenceModel)
    model.use_features(columns, source.items)
    return model, histories


def learn(
    name: str,
    settings: Mapping[str, object] = SMALL,
    folder: Path | None = None,
    break_at: int = 0,
    resume: bool = False,
    groups: bool = False,
) -> SequenceModel:
    model, histories = make(name, settings, groups)
    training = replace(histories, end=training_of(make_source(groups=groups)).end)
    config = TrainConfig(epochs=2, batch_tokens=64, learning_rate=0.02, warmup_steps=2)
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        (place / "checkpoints").mkdir(exist_ok=True)
        train_model(model, training, None, config, 3, place, Breaking(break_at), resume, "target")
    return model


@cache
def learned(name: str, groups: bool = False) -> SequenceModel:
    return learn(name, groups=groups)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_batch_answers_as_single_requests_do(name: str) -> None:
    _, histories = make(name)
    _, asked = requests(histories)
    assert (asked.lengths == 0).any()
    assert asked.lengths.max() > SMALL["max_length"]
    together = learned(name).score(asked)
    close(together, torch.cat([learned(name).score(asked.select(slice(row, row + 1))) for row in range(len(asked))]))
    assert together[:, 1:].isfinite().all()


@pytest.mark.parametrize("name", [name for name in TRAINABLE if model_class(name).traits.causal])
def test_a_state_depends_on_no_later_event_nor_on_its_target(name: str) -> None:
    model, histories = make(name)
    model = learned(name)
    row = int(np.argmax(histories.lengths))
    one = histories.select(slice(row, row + 1))
    first, last = one.start.copy(), one.end - 1
    last = np.minimum(last, first + 6)

    def states(of: Histories) -> torch.Tensor:
        batch = Steps(of, "target").train(first, last)
        assert model.featured is not None
        with torch.no_grad():
            return model.featured.ask_steps(model.states(batch), batch, None)

    before = states(one)
    for later in range(1, int(last[0] - first[0]) + 1):
        place = int(first[0]) + later
        columns = {key: column.copy() for key, column in one.columns.items()}
        for key, column in columns.items():
            if key not in ("time", "feature.device"):
                column[place:] = np.roll(column, 7)[place:]
        after = states(replace(one, columns=columns))
        close(before[:later], after[:later])
        columns["feature.device"][place:] = (columns["feature.device"][place:] + 1) % 4
        assert not torch.allclose(before[later - 1], states(replace(one, columns=columns))[later - 1])


@pytest.mark.parametrize("name", TRAINABLE)
def test_nothing_of_the_target_is_input_but_what_is_known_at_the_request(name: str) -> None:
    _, histories = make(name)
    part, asked = requests(histories)
    before = learned(name).score(asked)
    columns = {key: column.copy() for key, column in histories.columns.items()}
    for key, column in columns.items():
        if key not in ("time", "feature.device"):
            column[part.target_start] = np.roll(column[part.target_start], 1)
    changed = replace(histories, columns=columns)
    assert torch.equal(learned(name).score(part.requests(changed)), before)
    for key in ("feature.device", "time"):
        told = {name: column.copy() for name, column in histories.columns.items()}
        held = told[key][part.target_start]
        told[key][part.target_start] = held + 12_345_678_901 if key == "time" else (held + 1) % 4
        other = learned(name).score(part.requests(replace(histories, columns=told)))
        assert not torch.equal(other, before)


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_kind_of_feature_of_the_past_is_read(name: str) -> None:
    _, histories = make(name)
    _, asked = requests(histories)
    asked = asked.select(asked.lengths > 0)
    before = learned(name).score(asked)
    for key in histories.inputs:
        columns = dict(histories.columns)
        column = columns[key]
        columns[key] = column + 1 if column.dtype.kind == "f" else np.where(column == 1, 0, 1).astype(column.dtype)
        assert not torch.equal(learned(name).score(replace(asked, columns=columns)), before), key
    for key, values in asked.about.items():
        if key.startswith("users."):
            other = replace(asked, about={**asked.about, key: np.roll(values, 1, axis=0)})
            assert not torch.equal(learned(name).score(other), before), key


@pytest.mark.parametrize("name", TRAINABLE)
def test_saved_and_loaded_it_scores_the_same_bits(name: str, tmp_path: Path) -> None:
    source, (_, histories) = make_source(), make(name)
    _, asked = requests(histories)
    model = learned(name)
    config = RunConfig(model={"name": name, **model.config.model_dump(mode="json")})
    write_bundle(tmp_path / "model", model, Catalog(source.items), config, MANIFEST, {})
    loaded = load_bundle(tmp_path / "model").model
    assert isinstance(loaded, SequenceModel)
    assert loaded.features is not None
    assert model.features is not None
    assert loaded.features.columns == model.features.columns
    assert torch.equal(loaded.score(asked), model.score(asked))
    assert loaded.parameters_count == model.parameters_count


# how it ranks is the same code for all, so each way with two of them
@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name in TRAINABLE for settings in LOSSES if not settings or name in ("gru", "bert4rec")],
)
def test_broken_off_and_resumed_it_learns_the_same_bits(
    name: str, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[train_model.__module__], "SAVE_SECONDS", 0)  # a checkpoint after every step
    settings = {**SMALL, **settings}
    whole = learn(name, settings).state()
    with pytest.raises(RuntimeError, match="broken off"):
        learn(name, settings, tmp_path, break_at=4)
    resumed = learn(name, settings, tmp_path, resume=True).state()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_order_inside_a_group_never_matters(name: str) -> None:
    _, histories = make(name, groups=True)
    row = int(np.argmax(histories.lengths))
    one = histories.select(slice(row, row + 1))
    within = np.arange(one.start[0], one.end[0])
    group = one.columns["group"][within]
    assert len(np.unique(group)) < len(group)
    order = within[np.lexsort((-within, group))]
    columns = {key: column.copy() for key, column in one.columns.items()}
    for key, column in columns.items():
        if key != "time":  # of a group, the earliest counts
            column[within] = column[order]
    model = learned(name, groups=True)
    close(model.score(one), model.score(replace(one, columns=columns)))


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_empty_history_is_answered_by_who_asks(name: str) -> None:
    _, histories = make(name)
    nobody = replace(histories, end=histories.start)
    lists = learned(name).recommend(nobody, 3)
    assert not lists.fallback.any()
    assert len({tuple(row) for row in lists.scores.tolist()}) > USERS / 2


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_item_without_events_is_scored_by_its_features(name: str) -> None:
    source, model = make_source(), learned(name)
    assert model.items.train_counts[V] == 0
    _, histories = make(name)
    _, asked = requests(histories)
    before = model.score(asked)
    # the row of item 23 is a function of its features: another item that looks the same gets the same vector
    assert model.featured is not None
    vectors, biases = model.featured.items_of(source.items[V - 1 :])
    table, bias = model.output_table()
    close(vectors[0], table[V])
    close(biases[0], bias[V])
    other, _ = model.featured.items_of(source.items[:1])
    assert not torch.allclose(other[0], table[V])
    assert before[:, V].isfinite().all()
    # with its index an item has its id as well, and the row is the table's
    one = torch.tensor([1])
    own, own_bias = model.featured.items_of(source.items[:1], one)
    close(own[0], table[1])
    close(own_bias[0], bias[1])
    changed, _ = model.featured.items_of(source.items[1:2], one)
    assert not torch.allclose(changed[0], table[1])
    assert not torch.allclose(changed[0], table[2])
