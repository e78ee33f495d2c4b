"""Optimisers: row-wise updates against the dense ones, clipping over sparse gradients, state that comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from onward.config import TrainConfig
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.data.synthetic import as_histories, chain_events
from onward.errors import ConfigError
from onward.models.base import Items, build
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from onward.train.display import Display
from onward.train.loop import train_model
from onward.train.optim import Optimiser, clip_gradients, make_optimiser
from onward.train.rows import RowAdagrad


def _sparse(rows: list[int], values: list[list[float]], size: int = 5) -> torch.Tensor:
    return _coo(rows, torch.tensor(values), (size, len(values[0]))).coalesce()


def _coo(rows: list[int], values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, shape, check_invariants=True)


def test_row_adagrad_by_hand() -> None:
    table = nn.Parameter(torch.zeros(5, 2))
    optimiser = RowAdagrad([table], 0.1)
    table.grad = _sparse([1, 4], [[3.0, 4.0], [0.0, 2.0]])  # mean squares 12.5 and 2
    optimiser.step()
    torch.testing.assert_close(table[1], -0.1 * torch.tensor([3.0, 4.0]) / 12.5**0.5)
    torch.testing.assert_close(table[4], -0.1 * torch.tensor([0.0, 2.0]) / 2**0.5)
    before = table[1].clone()
    table.grad = _sparse([1], [[1.0, -1.0]])
    optimiser.step()
    torch.testing.assert_close(table[1], before - 0.1 * torch.tensor([1.0, -1.0]) / 13.5**0.5)
    assert (table[[0, 2, 3]] == 0).all()


def test_dense_gradients_move_rows_as_sparse_ones_do() -> None:
    start = torch.arange(10.0).view(5, 2)
    one, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    sparse, dense = RowAdagrad([one], 0.1), RowAdagrad([other], 0.1)
    for gradient in (_sparse([1, 4], [[1.0, -2.0], [0.5, 0.0]]), _sparse([1, 2], [[3.0, 1.0], [-1.0, 4.0]])):
        one.grad, other.grad = gradient, gradient.to_dense()
        sparse.step()
        dense.step()
    torch.testing.assert_close(one, other)


def test_rows_of_one_number_are_adagrad() -> None:
    vector, dense = nn.Parameter(torch.arange(5.0)), nn.Parameter(torch.arange(5.0))
    rows, plain = RowAdagrad([vector], 0.1), torch.optim.Adagrad([dense], lr=0.1)
    for touched, values in (([0, 3], [2.0, -1.0]), ([3], [0.5]), ([1, 3], [1.0, 1.0])):
        vector.grad = _coo(touched, torch.tensor(values), (5,)).coalesce()
        dense.grad = vector.grad.to_dense()
        rows.step()
        plain.step()
    torch.testing.assert_close(vector, dense)


def test_clipping_counts_sparse_gradients_once_summed() -> None:
    table, layer = nn.Parameter(torch.zeros(5, 1)), nn.Parameter(torch.zeros(2))
    layer.grad = torch.tensor([0.0, 12.0])
    # row 1 twice: together 4
    table.grad = _coo([1, 3, 1], torch.tensor([[1.0], [3.0], [3.0]]), (5, 1))
    clip_gradients([table, layer], 6.5)  # norm 13
    torch.testing.assert_close(layer.grad, torch.tensor([0.0, 6.0]))
    torch.testing.assert_close(table.grad.to_dense().flatten(), torch.tensor([0.0, 2.0, 0.0, 1.5, 0.0]))
    clip_gradients([table, layer], 100.0)
    torch.testing.assert_close(layer.grad, torch.tensor([0.0, 6.0]))


HISTORIES = Histories.from_lists([[1, 2, 3, 4, 5], [6, 7, 2], [9, 9, 3, 1]], 40)
SAMPLED = ["sampled_softmax", "bce", "gbce", "bpr", "bpr_max"]


def _model(loss: str, output: str = "tied", name: str = "sasrec") -> SequenceModel:
    torch.manual_seed(0)
    counts = np.full(41, 3)
    settings = {"width": 8, "loss": loss, "output": output, "negatives": 4, "dropout": 0.0}
    return build(model_class(name), settings, Items(counts, np.arange(41, dtype=np.int32)))


def _update(model: SequenceModel, optimiser: Optimiser, seed: int = 0) -> None:
    torch.manual_seed(seed)
    batches = TrainingBatches(HISTORIES, 10, 64, seed=0)
    model.zero_grad(set_to_none=True)
    for windows in batches.epoch(0):
        model.loss(batches.batch(windows)).backward()
    optimiser.update(1.0)


@pytest.mark.parametrize("kind", ["adamw", "adagrad"])
@pytest.mark.parametrize("output", ["tied", "separate"])
@pytest.mark.parametrize("loss", SAMPLED)
def test_a_step_touches_the_rows_of_the_batch_and_no_other(loss: str, output: str, kind: str) -> None:
    model = _model(loss, output)
    optimiser = make_optimiser(model, TrainConfig(optimiser=kind))
    before = {name: table.detach().clone() for name, table in model.item_tables().items()}
    assert set(before) == {"input.weight", "output_bias", *(["output.weight"] if output == "separate" else [])}
    torch.manual_seed(1)
    drawn = model.sampler.draw(4).items.tolist()
    _update(model, optimiser, seed=1)
    touched = {
        name: set((table != before[name]).view(41, -1).any(1).nonzero().flatten().tolist())
        for name, table in model.item_tables().items()
    }
    inputs, targets = {1, 2, 3, 4, 6, 7, 9}, {2, 3, 4, 5, 7, 9, 1}
    scored = targets | set(drawn)
    assert touched["output_bias"] == scored
    if output == "separate":
        assert touched["input.weight"] == inputs
        assert touched["output.weight"] == scored
    else:
        assert touched["input.weight"] == inputs | scored


@pytest.mark.parametrize(
    ("loss", "item_optimiser"),
    [("cross_entropy", "auto"), ("cross_entropy", "same"), ("cross_entropy", "adagrad"), ("sampled_softmax", "auto")],
)
@pytest.mark.parametrize("name", ["gru", "sasrec"])
def test_every_parameter_is_updated_by_exactly_one_part(name: str, loss: str, item_optimiser: str) -> None:
    model = _model(loss, name=name)
    optimiser = make_optimiser(model, TrainConfig(item_optimiser=item_optimiser))
    assert sorted(map(id, optimiser.parameters)) == sorted(map(id, model.parameters()))
    by_rows = [parameter for part in optimiser.parts[1:] for parameter in part.parameters]
    layers_way = item_optimiser == "same" or (name, loss, item_optimiser) == ("sasrec", "cross_entropy", "auto")
    wanted = [] if layers_way else model.item_tables().values()
    assert list(map(id, by_rows)) == list(map(id, wanted))
    _update(model, optimiser)


def test_the_layers_optimiser_refuses_tables_of_which_a_step_reaches_only_some_rows() -> None:
    with pytest.raises(ConfigError, match=r"item_optimiser = 'same'.*'sampled_softmax'"):
        make_optimiser(_model("sampled_softmax"), TrainConfig(item_optimiser="same"))


@pytest.mark.parametrize("kind", ["adamw", "adagrad"])
@pytest.mark.parametrize("item_optimiser", ["auto", "adagrad"])
@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax"])
def test_a_checkpoint_brings_back_every_bit_of_the_optimiser(
    loss: str, kind: str, item_optimiser: str, tmp_path: Path
) -> None:
    config, path = TrainConfig(optimiser=kind, item_optimiser=item_optimiser), tmp_path / "last.safetensors"
    model = _model(loss)
    optimiser = make_optimiser(model, config)
    for seed in range(3):
        _update(model, optimiser, seed)
    save_checkpoint(path, model, optimiser, Progress(step=3))
    other = _model(loss)
    resumed = make_optimiser(other, config)
    assert load_checkpoint(path, other, resumed).step == 3
    assert optimiser.state().keys() == resumed.state().keys()
    for one, two in ((model, optimiser), (other, resumed)):
        _update(one, two, seed=9)
    for name, tensor in model.state().items():
        assert torch.equal(tensor, other.state()[name]), name


def test_tables_have_a_step_size_of_their_own_on_the_same_schedule() -> None:
    optimiser = make_optimiser(_model("sampled_softmax"), TrainConfig(learning_rate=0.02, item_learning_rate=0.5))
    optimiser.learning_rate = 0.01  # half way down a schedule
    assert [part.learning_rate for part in optimiser.parts] == [0.01, 0.25]


@pytest.mark.parametrize(
    ("loss", "kind"),
    [*((loss, "adamw") for loss in SAMPLED), ("sampled_softmax", "adagrad"), ("bpr_max", "adagrad")],
)
def test_every_sampled_loss_learns_a_chain(loss: str, kind: str, tmp_path: Path) -> None:
    data = as_histories(chain_events(users=60, items=15, length=12, seed=3))
    training = replace(data, end=data.end - 1)
    torch.manual_seed(0)
    settings = {"width": 16, "dropout": 0.0, "loss": loss, "negatives": 8, "max_length": 20}
    model = build(model_class("gru"), settings, Items(training.item_counts(), np.arange(16, dtype=np.int32)))
    config = TrainConfig(
        epochs=40, optimiser=kind, learning_rate=0.01 if kind == "adamw" else 0.1, warmup_steps=5, batch_tokens=256
    )
    (tmp_path / "checkpoints").mkdir()
    train_model(model, training, None, config, 0, tmp_path, Display("", shown=False))
    lists = model.recommend(training, k=1, seen="include")
    assert (lists.items[:, 0] == data.item[data.end - 1]).mean() > 0.7  # one of 15 by chance
