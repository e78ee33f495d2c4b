"""What every model of the registry must keep, by its declared traits.

The models are those of the registry when this module is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from onward.bundle import load_bundle, write_bundle
from onward.config import RunConfig
from onward.data.sequences import Histories
from onward.data.synthetic import as_histories, block_events, chain_events
from onward.models.base import Items, build
from onward.models.sequence import SequenceModel
from onward.models.stepwise import Stepwise
from onward.testing.small_models import (
    ALL,
    FITTED,
    MANIFEST,
    REPEAT,
    TRAINABLE,
    UNSEEN,
    V,
    asked,
    close,
    fitted,
    learn,
    make_catalog,
    make_table,
    mixed,
    model_class,
    without_groups,
)

FLOOR = ("random", "popularity")
"""Models that don't look at what the history holds."""
NO_COMPANY = (*FLOOR, "personal-frequency")
"""Models that know of no items that go together."""


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest) -> None:
    if request.getfixturevalue("name") == "als" and importlib.util.find_spec("implicit") is None:
        pytest.skip("the package implicit is not installed (extra mf)")


@pytest.mark.parametrize("name", ALL)
def test_scores_are_float32_one_a_column_and_never_nan(name: str) -> None:
    scores = fitted(name).score(asked())
    assert scores.shape == (7, V + 1)
    assert scores.dtype == torch.float32
    assert torch.isneginf(scores[:, 0]).all()
    assert scores[:, 1:].isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_a_batch_answers_as_single_requests_do(name: str) -> None:
    # the longest request is 44 times the shortest, so padding would show
    together = fitted(name).score(asked())
    alone = torch.cat([fitted(name).score(asked().select(slice(row, row + 1))) for row in range(len(asked()))])
    close(together, alone)


@pytest.mark.parametrize("name", ALL)
def test_nothing_outside_the_history_matters(name: str) -> None:
    data = mixed()
    row = int(np.argmax(data.lengths))
    window = replace(data, start=data.start[[row]] + 5, end=data.end[[row]] - 7)
    inside = np.zeros(len(data.item), dtype=bool)
    inside[window.start[0] : window.end[0]] = True
    columns = {key: column.copy() for key, column in data.columns.items()}
    columns["item"][~inside] = 1 + columns["item"][~inside] % V
    columns["value"][~inside] = 0
    changed = replace(window, columns=columns)
    assert not np.array_equal(changed.item, window.item)
    assert torch.equal(fitted(name).score(window), fitted(name).score(changed))


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("name", [name for name in TRAINABLE if model_class(name).traits.causal])
def test_a_state_depends_on_no_later_event(name: str, told: bool) -> None:
    from onward.data.batches import Steps

    model = fitted(name)
    assert isinstance(model, SequenceModel)
    item = np.array([4, 9, 1, 1, 17, 3, 12, 20], np.int32)
    n = len(item)
    time = np.array([0, 3, 3, 6, 9, 10, 19, 25]) * 1_000_000
    at = np.append(time[1:], time[-1] + 12_000_000) if told else None
    whole = Steps(Histories({"item": item, "time": time}, np.array([0]), np.array([n]), V))
    model.eval()
    with torch.no_grad():
        states = model.states(whole.encode(np.array([0]), np.array([n]), None if at is None else at[-1:]))
    # each prefix in columns of its own, so that nothing later is within reach
    prefixes = [
        Histories({"item": item[:end], "time": time[:end]}, np.array([0]), np.array([end]), V)
        for end in range(1, n + 1)
    ]
    for step, prefix in enumerate(prefixes):
        asked = replace(prefix, at=None if at is None else at[step : step + 1])
        close(states[step], model.last_states(asked)[0])


@pytest.mark.parametrize("name", ALL)
def test_times_count_where_declared_and_only_there(name: str) -> None:
    def scores(times: list[int], at: int) -> Tensor:
        columns = {"item": np.array([2, 9, 20, 6], np.int32), "time": np.array(times) * 1_000_000}
        asked = Histories(columns, np.array([0]), np.array([4]), V, np.array([at]) * 1_000_000)
        return fitted(name).score(asked)

    one = scores([0, 2, 5, 9], 10)  # as far apart as training events are, since other gaps were not learned
    for other in (scores([0, 7, 8, 9], 10), scores([0, 2, 5, 9], 25)):
        assert torch.equal(one, other) != (model_class(name).traits.timed or name.endswith(REPEAT))


@pytest.mark.parametrize("name", [name for name in TRAINABLE if issubclass(model_class(name), Stepwise)])
def test_step_by_step_gives_the_state_of_the_whole_history(name: str) -> None:
    model = fitted(name)
    assert isinstance(model, SequenceModel)
    assert isinstance(model, Stepwise)
    model.eval()
    histories = np.array([[4, 9, 1, 1, 17, 3], [2, 2, 20, 7, 5, 11]])
    state = model.start_state(2)
    for step in range(histories.shape[1]):
        with torch.no_grad():
            state, answer = model.advance(state, model.input(torch.from_numpy(histories[:, step]), None))
        close(answer, model.last_states(Histories.from_lists(histories[:, : step + 1].tolist(), V)))


@pytest.mark.parametrize("name", ALL)
def test_the_order_matters_where_declared_and_only_there(name: str) -> None:
    forward, backward = Histories.from_lists([[2, 9, 20, 6]], V), Histories.from_lists([[6, 20, 9, 2]], V)
    one, other = fitted(name).score(forward), fitted(name).score(backward)
    if model_class(name).traits.ordered:
        assert not torch.allclose(one, other, rtol=1e-3)
    else:
        close(one, other)


@pytest.mark.parametrize("name", ALL)
def test_the_order_inside_a_group_never_matters(name: str) -> None:
    model = learn(name, mixed(), make_catalog(V).tie_rank, epochs=1)

    def scores(items: list[int]) -> Tensor:
        columns = {"item": np.array(items, np.int32), "group": np.array([3, 3, 8, 9, 9, 9], np.int32)}
        return model.score(Histories(columns, np.array([0]), np.array([6]), V))

    close(scores([1, 2, 3, 4, 5, 6]), scores([2, 1, 3, 6, 4, 5]))


@pytest.mark.parametrize("name", ALL)
def test_renumbering_the_catalog_renumbers_the_answer(name: str) -> None:
    order = np.random.default_rng(1).permutation(V)  # new index of item i + 1 is order[i] + 1
    new = np.concatenate([[0], order + 1])
    old = np.argsort(new)
    model, training = fitted(name), without_groups(mixed())
    renamed = replace(training, columns={**training.columns, "item": new[training.item].astype(np.int32)})
    tie_rank = make_catalog(V).tie_rank[old]
    if model.traits.trainable or name == "als":  # these start from numbers drawn by row: renumber what was learned
        items = Items(model.items.train_counts[old], tie_rank)
        other = build(type(model), model.config.model_dump(), items)
        other.load_state({key: _permute(tensor, old) for key, tensor in model.state().items()})
    else:
        other = learn(name, renamed, tie_rank, table=make_table(V)[(old[1:] - 1).tolist()])
    requests = asked()
    renamed_requests = replace(requests, columns={"item": new[requests.item].astype(np.int32)})
    scores = other.score(renamed_requests)[:, torch.from_numpy(new)]
    close(scores, model.score(requests))


def _permute(tensor: Tensor, old: np.ndarray) -> Tensor:
    for dimension, size in enumerate(tensor.shape):
        if size == V + 1:
            tensor = tensor.index_select(dimension, torch.from_numpy(old))
    return tensor


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_it_scores_the_same_bits(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    config = RunConfig(model={"name": model.name, **model.config.model_dump(mode="json")})
    write_bundle(tmp_path / "model", model, make_catalog(V), config, MANIFEST, {})
    loaded = load_bundle(tmp_path / "model").model
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert torch.equal(loaded.score(asked()), model.score(asked()))
    assert loaded.parameters_count == model.parameters_count
    assert np.array_equal(loaded.recommend(asked(), k=5).items, model.recommend(asked(), k=5).items)


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_learns_the_same_bits(name: str) -> None:
    again = learn(name, without_groups(mixed()), make_catalog(V).tie_rank)
    assert _same(again.state(), fitted(name).state())


@pytest.mark.parametrize("name", [*TRAINABLE, "random", "als"])
def test_another_seed_learns_something_else(name: str) -> None:
    other = learn(name, without_groups(mixed()), make_catalog(V).tie_rank, seed=1)
    assert not _same(other.state(), fitted(name).state())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("k", [1, 7, V])
def test_recommend_is_a_full_sort_of_the_scores(name: str, k: int) -> None:
    model, requests = fitted(name), asked()
    everything = np.ones(V + 1, dtype=bool)
    lists = model.recommend(requests, k, candidates=everything, seen="include")
    scores = model.score(requests).numpy()[:, 1:]
    order = np.lexsort((np.broadcast_to(model.items.tie_rank[1:], scores.shape), -scores), axis=1)[:, :k]
    assert np.array_equal(lists.items, order + 1)
    assert np.array_equal(lists.scores, np.take_along_axis(scores, order, 1))
    assert not lists.fallback.any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("history", [[], [UNSEEN], [UNSEEN, UNSEEN]])
def test_a_history_of_nothing_known_gets_popularity(name: str, history: list[int]) -> None:
    model = fitted(name)
    lists = model.recommend(Histories.from_lists([history, [3]], V), k=V)
    if model.scores_unseen and history:  # an item that it knows by its features
        assert not lists.fallback.any()
        return
    assert lists.fallback.tolist() == [True, False]
    counts = model.items.train_counts
    wanted = sorted(np.flatnonzero(counts), key=lambda item: (-counts[item], model.items.tie_rank[item]))
    assert lists.items[0].tolist() == [*wanted, 0]  # item 23 was never trained, so it is no candidate


@pytest.mark.parametrize("name", ALL)
def test_no_request_gets_no_list(name: str) -> None:
    lists = fitted(name).recommend(Histories.from_lists([], V), k=3)
    assert lists.items.shape == lists.scores.shape == (0, 3)


@pytest.mark.parametrize("name", ALL)
def test_places_that_no_item_fills_are_zero(name: str) -> None:
    lists = fitted(name).recommend(Histories.from_lists([[3, 8]], V), k=V + 10)
    assert lists.items.shape == (1, V + 10)
    assert sorted(lists.items[0][:20].tolist()) == sorted(set(range(1, 23)) - {3, 8})
    assert (lists.items[0][20:] == 0).all()
    assert np.isneginf(lists.scores[0][20:]).all()


@pytest.mark.parametrize("name", ALL)
def test_candidates_exclusions_and_seen_items_are_respected(name: str) -> None:
    model, history = fitted(name), Histories.from_lists([[1, 2], [3, 4]], V)
    candidates = np.zeros(V + 1, dtype=bool)
    candidates[[1, 3, 5, 6, 7]] = True
    exclude = Histories.from_lists([[5], [6, 7]], V)
    fresh = model.recommend(history, V, candidates, "exclude", exclude)
    assert [sorted(set(row) - {0}) for row in fresh.items.tolist()] == [[3, 6, 7], [1, 5]]
    again = model.recommend(history, V, candidates, "include", exclude)
    assert [sorted(set(row) - {0}) for row in again.items.tolist()] == [[1, 3, 6, 7], [1, 3, 5]]


@pytest.mark.parametrize("name", ALL)
def test_a_catalog_of_one_item(name: str) -> None:
    training = Histories.from_lists([[1, 1, 1], [1, 1]], 1)
    training = replace(training, columns={**training.columns, "value": np.array([1, 2, 3, 1, 2], np.float32)})
    model = learn(name, training, np.array([0, 1], np.int32), epochs=1)
    requests = Histories.from_lists([[1], []], 1)
    assert model.recommend(requests, 2, seen="include").items.tolist() == [[1, 0], [1, 0]]
    assert model.recommend(requests, 2, seen="exclude").items.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("name", ALL)
def test_input_arrays_are_only_read(name: str) -> None:
    # datasets are memory-mapped read-only: a write would raise, and a warning is an error
    def frozen(data: Histories) -> Histories:
        columns = {key: column.copy() for key, column in data.columns.items()}
        for array in (*columns.values(), start := data.start.copy(), end := data.end.copy()):
            array.flags.writeable = False
        return replace(data, columns=columns, start=start, end=end)

    model = learn(name, frozen(without_groups(mixed())), make_catalog(V).tie_rank, epochs=1)
    candidates = np.ones(V + 1, dtype=bool)
    candidates.flags.writeable = False
    model.recommend(frozen(asked()), 3, candidates)


@pytest.mark.parametrize("name", ALL)
def test_scoring_leaves_the_model_as_it_was(name: str) -> None:
    before = {key: tensor.clone() for key, tensor in fitted(name).state().items()}
    first = fitted(name).score(asked())
    fitted(name).recommend(asked(), 3)
    assert _same(before, fitted(name).state())
    assert torch.equal(first, fitted(name).score(asked()))


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_models_learn_a_chain_by_heart(name: str) -> None:
    items = 15
    data = as_histories(chain_events(users=60, items=items, length=12, seed=3))
    training = replace(data, end=data.end - 1)
    traits = model_class(name).traits
    # a cloze learns from the few steps that it hides; without causality, every step is a row of its own
    epochs = 120 if traits.cloze else 40 if traits.causal else 15
    model = learn(name, training, np.arange(items + 1, dtype=np.int32), epochs=epochs)
    lists = model.recommend(training, k=1, seen="include")
    assert (lists.items[:, 0] == data.item[data.end - 1]).mean() > 0.95


@pytest.mark.parametrize(
    "name", [name for name in FITTED if name not in NO_COMPANY and not model_class(name).traits.valued]
)
def test_fitted_models_recover_what_goes_together(name: str) -> None:
    # each user took 7 of the 10 items of one block: the other 3 are the answer, and they are nobody's most popular
    data = as_histories(block_events(users=400, blocks=4, block_items=10, length=7, seed=2))
    model = learn(name, data, np.arange(41, dtype=np.int32))
    lists = model.recommend(data, k=3)
    block = (data.item[data.start] - 1) // 10
    assert ((lists.items - 1) // 10 == block[:, None]).mean() > 0.99


@pytest.mark.parametrize("name", FITTED)
def test_only_models_that_declare_it_hold_rows_of_users(name: str) -> None:
    data = without_groups(mixed())
    more = replace(
        data, start=np.concatenate([data.start, data.start[:1]]), end=np.concatenate([data.end, data.end[:1]])
    )
    grown = learn(name, more, make_catalog(V).tie_rank)  # the same events and one more user, who has none
    sizes = {key: tuple(tensor.shape) for key, tensor in fitted(name).state().items()}
    changed = sizes != {key: tuple(tensor.shape) for key, tensor in grown.state().items()}
    assert changed == model_class(name).traits.holds_user_rows


@pytest.mark.parametrize("name", [name for name in ALL if model_class(name).traits.max_items is not None])
def test_a_catalog_too_large_is_refused_before_it_costs_memory(name: str) -> None:
    from onward.errors import ConfigError

    n = (model_class(name).traits.max_items or 0) + 1
    with pytest.raises(ConfigError, match=f"'{name}' takes at most {n - 1} items and the catalog has {n}"):
        build(model_class(name), {}, Items(np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int32)))
