"""Compiled states and lists against PyTorch's layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
import torch

from onward.data.sequences import Histories
from onward.errors import TrainingError
from onward.models import compiled as models_compiled
from onward.models.base import Items, Lists, Recommender
from onward.models.compiled import Compiled, CompiledTransformer
from onward.models.registry import model_class
from onward.models.windows import newest_window
from onward.native import transformer

pytestmark = pytest.mark.usefixtures("compiled")
ITEMS, LONGEST = 150, 70
LENGTHS = [1, 2, 5, 6, 7, 16, 17, 33, 64, LONGEST, 3, 1, LONGEST, LONGEST, 40]
Make = Any


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(name: str = "sasrec", **settings: object) -> CompiledTransformer:
    """A model whose every number counts: biases and norms aren't what they start with."""
    counts = np.ones(ITEMS + 1, dtype=np.int64)
    counts[0] = 0
    items = Items(counts, np.random.default_rng(0).permutation(ITEMS + 1).astype(np.int32))
    cls = model_class(name)
    torch.manual_seed(0)
    model = cls(cls.Config.parse({"width": 16, "max_length": LONGEST} | settings), items)
    assert isinstance(model, CompiledTransformer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3)
    return model.eval()


def histories(lengths: list[int] = LENGTHS) -> Histories:
    random = np.random.default_rng(sum(lengths))
    return Histories.from_lists([random.integers(1, ITEMS + 1, length).tolist() for length in lengths], ITEMS)


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> Make:
    """What a function gives where nothing is compiled."""

    def call(function: Any, *arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(models_compiled, "is_built", lambda: False)
            return function(*arguments)

    return call


def assert_close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 3e-6) -> None:
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("name", ["sasrec", "esasrec"])
@pytest.mark.parametrize(("width", "heads"), [(5, 1), (16, 1), (16, 4), (33, 3), (64, 2), (100, 4)])
@pytest.mark.parametrize(("blocks", "feed_forward"), [(1, 1), (2, 4), (3, 1)])
def test_states_are_those_of_the_layers(
    name: str, width: int, heads: int, blocks: int, feed_forward: int, by_torch: Make
) -> None:
    model = make(name, width=width, heads=heads, blocks=blocks, feed_forward=feed_forward)
    assert_close(model.encoded(histories()), by_torch(model.encoded, histories()))
    assert isinstance(model._compiled, Compiled)


@pytest.mark.parametrize("name", ["sasrec", "esasrec"])
def test_states_after_every_step_are_those_of_the_layers(name: str, by_torch: Make) -> None:
    model = make(name, heads=2)
    some = histories()
    cut = Histories(
        some.columns, np.repeat(some.start, 2), np.repeat(some.end, 2) - np.tile([0, 1], len(some)), ITEMS
    )  # two requests of one history share its window
    cut = cut.select(cut.lengths > 0)
    assert_close(model.encoded(cut), by_torch(model.encoded, cut))


@pytest.mark.parametrize("length", [1, 2, 40, LONGEST])
def test_of_one_history(length: int, by_torch: Make) -> None:
    model = make()
    one = histories([length])
    with torch.inference_mode():
        batch = newest_window(one, LONGEST, model.traits)
        wanted = by_torch(model.states, batch)
        assert_close(model.states(batch), wanted)
        assert_close(model.answer_states(batch, batch.lengths - 1), wanted[-1:])
    assert_close(model.encoded(one), wanted[-1:])


def test_longer_histories_are_cut_to_the_newest_steps(by_torch: Make) -> None:
    model = make()
    long = histories([LONGEST + 50, LONGEST + 1])
    assert_close(model.encoded(long), by_torch(model.encoded, long))
    for row in range(2):
        assert_lists_equal(model.recommend(long.select(slice(row, row + 1))), by_torch(model.recommend, long, 10), row)


def assert_lists_equal(found: Lists, wanted: Lists, row: int = 0) -> None:
    np.testing.assert_array_equal(found.items[0], wanted.items[row])
    np.testing.assert_allclose(found.scores[0], wanted.scores[row], rtol=1e-5, atol=1e-5)
    assert found.fallback.tolist() == [wanted.fallback[row]]


def test_a_state_is_the_same_whatever_stands_beside_it() -> None:
    model = make(heads=2)
    together = model.encoded(histories())
    for row in range(len(LENGTHS)):
        alone = model.encoded(histories().select(slice(row, row + 1)))
        assert torch.equal(alone[0], together[row])


def test_threads_share_histories_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    alone = model.encoded(histories())
    monkeypatch.setattr(transformer, "PART_STEPS", 16)
    torch.set_num_threads(3)
    assert torch.equal(model.encoded(histories()), alone)
    parts: list[int] = []
    inside = transformer.Transformer._one_thread
    monkeypatch.setattr(
        transformer.Transformer, "_one_thread", lambda *given: parts.append(len(given[2])) or inside(*given)
    )
    assert torch.equal(model.encoded(histories()), alone)
    assert len(parts) == 3
    assert sum(parts) == len(LENGTHS)


def test_it_sees_weights_change(by_torch: Make) -> None:
    model = make()
    before = model.encoded(histories())
    with torch.no_grad():
        model.blocks[0].project.weight.mul_(2.0)
    after = model.encoded(histories())
    assert_close(after, by_torch(model.encoded, histories()))
    assert not torch.equal(after, before)
    model.load_state({name: tensor * 0.5 for name, tensor in model.state().items()})
    assert_close(model.encoded(histories()), by_torch(model.encoded, histories()))
    assert_lists_equal(model.recommend(histories([7])), by_torch(model.recommend, histories([7]), 10))


def test_moving_and_casting_makes_it_stale(by_torch: Make) -> None:
    model = make()
    model.encoded(histories())
    model.double()
    wanted = model.encoded(histories())
    assert wanted.dtype == torch.float64
    model.float()
    assert_close(model.encoded(histories()), wanted.float())


def test_a_copy_stands_on_its_own() -> None:
    model = make()
    before = model.encoded(histories())
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    del model
    assert torch.equal(other.encoded(histories()), before)


def test_training_and_gradients_go_through_the_layers() -> None:
    model = make(dropout=0.0)
    batch = newest_window(histories([9]), LONGEST, model.traits)
    assert model.states(batch).requires_grad
    model.train()
    with torch.no_grad():
        model.states(batch)
    assert model._compiled is None


@pytest.mark.parametrize("name", ["bert4rec", "bsarec"])
def test_models_that_are_not_causal_are_not_compiled(name: str) -> None:
    model = make(name)
    model.encoded(histories())
    assert model.quick_for(histories()) is None
    assert model._compiled is None


@pytest.mark.parametrize("seen", ["exclude", "include"])
@pytest.mark.parametrize("k", [1, 10, ITEMS - 5, ITEMS + 20])
@pytest.mark.parametrize("width", [5, 16, 33])
def test_the_list_of_one_history(k: int, seen: Literal["exclude", "include"], width: int, by_torch: Make) -> None:
    model = make("esasrec", width=width)
    one = histories([12])
    assert_lists_equal(model.recommend(one, k, seen=seen), by_torch(model.recommend, one, k, None, seen))
    allowed = model.items.candidates & (np.arange(ITEMS + 1) % 3 != 0)
    found = model.recommend(one, k, allowed, seen)
    assert_lists_equal(found, by_torch(model.recommend, one, k, allowed, seen))
    assert allowed[found.items[found.items > 0]].all()
    assert np.isneginf(found.scores[found.items == 0]).all()


def test_ties_are_ordered_by_their_rank() -> None:
    model = make()
    with torch.no_grad():  # many items of three scores
        model.input.weight[1:] = model.input.weight[1:4].repeat(ITEMS // 3, 1)
        model.output_bias[1:] = model.output_bias[1:4].repeat(ITEMS // 3)
    one = histories([5])
    score = model.score_histories(one)[0, 1:4].tolist()
    unseen = [item for item in range(1, ITEMS + 1) if item not in one.item]
    wanted = sorted(unseen, key=lambda item: (-score[(item - 1) % 3], model.items.tie_rank[item]))
    for k in (1, 7, 60, len(wanted)):
        assert model.recommend(one, k).items[0].tolist() == wanted[:k]


def test_a_history_that_nobody_knows_gets_what_is_popular(by_torch: Make) -> None:
    model = make()
    empty = Histories.from_lists([[]], ITEMS)
    found = model.recommend(empty)
    assert found.fallback.all()
    assert_lists_equal(found, by_torch(model.recommend, empty, 10))


def test_numbers_that_are_none_are_refused() -> None:
    model = make()
    with torch.no_grad():
        model.output_bias[3] = torch.nan
    with pytest.raises(TrainingError, match="NaN"):
        model.recommend(histories([5]))
    with torch.no_grad():
        model.output_bias[3] = 0.0
        model.blocks[0].narrow.weight[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="NaN"):
        model.recommend(histories([5]))


def test_it_reads_no_memory_that_is_not_its_own() -> None:
    model = make()
    found = model._compile()
    assert found is not None
    states, vectors = found.transformer.states, torch.zeros(4, 16)
    two = torch.tensor([2, 2])
    with pytest.raises(ValueError, match="histories of no steps"):
        states(vectors, torch.tensor([2, 3]))
    with pytest.raises(ValueError, match="histories of no steps"):
        states(vectors, torch.tensor([4, 0]))
    with pytest.raises(ValueError, match="histories of no steps"):
        states(torch.zeros(LONGEST + 1, 16), torch.tensor([LONGEST + 1]))
    with pytest.raises(ValueError, match="16 wide"):
        states(torch.zeros(4, 15), two)
    with pytest.raises(ValueError, match="float64"):
        states(vectors.double(), two)
    with pytest.raises(ValueError, match="int32"):
        states(vectors, two.int())
    for item in (-1, 4):
        with pytest.raises(IndexError, match="no vector"):
            states(vectors, two, torch.tensor([0, item, 0, 0], dtype=torch.int32))
    best, catalog = found.transformer.best, found._catalog
    history = np.array([1, 2], dtype=np.int32)
    for wrong in (history.astype(np.int64), np.array([1, 2, 3, 4], dtype=np.int32)[::2]):
        with pytest.raises(ValueError, match="contiguous"):
            best(catalog, wrong, 5, True)
    with pytest.raises(ValueError, match="k of 1"):
        best(catalog, history, 0, True)
    for item in (-1, ITEMS + 1):
        long = np.array([item] + [1] * LONGEST, dtype=np.int32)  # what is left out is read before the window, too
        with pytest.raises(IndexError, match="no vector"):
            best(catalog, long, 5, True)
    with pytest.raises(ValueError, match="float64"):
        transformer.Catalog(*[np.zeros((3, 2), dtype=np.float64)] * 2, *catalog._arrays[2:])


def test_weights_of_another_size_are_refused() -> None:
    found = make()._compile()
    assert found is not None
    found.transformer._model.floats -= 1
    with pytest.raises(ValueError, match="the weights"):
        found.transformer.states(torch.zeros(4, 16), torch.tensor([4]))


def test_a_norm_with_another_epsilon_is_refused() -> None:
    with pytest.raises(ValueError, match="epsilon"):
        transformer.layer(torch.nn.LayerNorm(4, eps=1e-3))


def test_models_that_read_more_than_items_are_answered_by_their_states(by_torch: Make) -> None:
    model = make(repeat=True)
    assert isinstance(model, Recommender)
    assert model.quick_for(histories([9])) is None
    found = model.recommend(histories([9]))
    assert model._compiled is not None
    assert_lists_equal(found, by_torch(model.recommend, histories([9]), 10))
