"""The neural models' own mathematics: the LSTM by hand, truncation, groups, one-hot input, interest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Items, build
from onward.models.registry import model_class

NEURAL = ["rnn", "lstm", "gru", "nextitnet", "sasrec", "esasrec", "hstu", "lrurec"]


def _model(name: str, n_items: int = 8, **settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    items = Items(np.arange(n_items + 1), np.arange(n_items + 1, dtype=np.int32))
    model = build(model_class(name), {"width": 6, "dropout": 0.0, **settings}, items)
    for parameter in model.parameters():  # away from the symmetric start, so that every term counts
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def test_lstm_follows_the_standard_equations() -> None:
    model = _model("lstm")
    weights = {name: tensor.double().numpy() for name, tensor in model.state().items()}
    history = [3, 1, 7, 7, 2]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    h = c = np.zeros(6)
    for item in history:
        x = weights["input.weight"][item] * np.sqrt(6)  # scaled by the root of the width, at the input
        gates = (
            weights["recurrent.weight_ih_l0"] @ x
            + weights["recurrent.bias_ih_l0"]
            + weights["recurrent.weight_hh_l0"] @ h
            + weights["recurrent.bias_hh_l0"]
        )
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    expected = weights["input.weight"] @ h + weights["output_bias"]
    scores = model.score(Histories.from_lists([history], 8))[0].numpy()
    np.testing.assert_allclose(scores[1:], expected[1:], rtol=1e-5, atol=1e-6)
    assert scores[0] == -np.inf


def test_nextitnet_first_convolution_by_hand() -> None:
    model = _model("nextitnet", dilations=[2], kernel=3)
    layer = model.blocks[0].first
    x = torch.randn(1, 7, 6)
    out = layer(x)[0]
    weight, bias = layer.convolution.weight, layer.convolution.bias
    for step in (0, 3, 6):
        wanted = bias.clone()
        for tap, place in enumerate((step - 4, step - 2, step)):
            if place >= 0:
                wanted = wanted + weight[:, :, tap] @ x[0, place]
        torch.testing.assert_close(out[step], wanted)


@pytest.mark.parametrize("name", NEURAL)
def test_only_the_newest_max_length_steps_count(name: str) -> None:
    model = _model(name, max_length=3)
    long, short = Histories.from_lists([[1, 2, 3, 4, 5]], 8), Histories.from_lists([[3, 4, 5]], 8)
    torch.testing.assert_close(model.score(long), model.score(short))


@pytest.mark.parametrize("name", NEURAL)
def test_order_inside_a_group_changes_nothing(name: str) -> None:
    model = _model(name)

    def scores(items: list[int]) -> torch.Tensor:
        columns = {"item": np.array(items, np.int32), "group": np.array([0, 1, 1, 1, 2], np.int32)}
        return model.score(Histories(columns, np.array([0]), np.array([5]), 8))

    torch.testing.assert_close(scores([5, 1, 2, 3, 6]), scores([5, 3, 1, 2, 6]))
    assert not torch.equal(scores([5, 1, 2, 3, 6]), scores([6, 1, 2, 3, 5]))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_onehot_input_is_a_table_lookup_in_the_gates(name: str) -> None:
    model = _model(name, input="onehot", output="separate")
    assert model.recurrent.input_size == 9
    vectors = model.input(torch.tensor([3, 1]), None)
    assert vectors.tolist() == np.eye(9)[[3, 1]].tolist()
    bags = model.input(torch.tensor([3, 1, 2]), torch.tensor([0, 2]))
    assert bags[0].tolist() == [0, 0.5, 0, 0.5, 0, 0, 0, 0, 0]


def test_onehot_with_a_tied_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="onehot"):
        _model("lstm", input="onehot")


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"model\.heads = 4"):
        _model("sasrec", heads=4)


@pytest.mark.parametrize("name", NEURAL)
@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax", "bce", "gbce", "bpr", "bpr_max", "mse"])
def test_every_loss_has_a_gradient_for_every_weight(name: str, loss: str) -> None:
    from onward.data.epochs import TrainingBatches

    model = _model(name, loss=loss, output="separate", max_length=4)
    columns = {"item": np.array([1, 2, 3, 4, 5], np.int32), "value": np.array([1, 5, np.nan, 2, 3], np.float32)}
    histories = Histories(columns, np.array([0]), np.array([5]), 8)
    model.start_training(histories)
    batches = TrainingBatches(histories, 4, 16, seed=0)
    (batch,) = map(batches.batch, batches.epoch(0))
    model.loss(batch).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad.to_dense()).all(), parameter_name


def test_interest_is_scaled_by_the_training_values_and_reads_past_values() -> None:
    model = _model("lstm", loss="mse")
    columns = {"item": np.array([1, 2, 3], np.int32), "value": np.array([1, 5, 3], np.float32)}
    histories = Histories(columns, np.array([0]), np.array([3]), 8)
    model.start_training(histories)
    assert model.value_range == (1, 5)
    first = model.interest(histories, np.array([4]))
    assert 0 < first.item() < 1
    columns["value"] = np.array([5, 5, 3], np.float32)
    assert model.interest(histories, np.array([4])).item() != first.item()


def test_interest_needs_values() -> None:
    model = _model("gru", loss="mse")
    with pytest.raises(ConfigError, match="value column"):
        model.start_training(Histories.from_lists([[1, 2]], 8))
    with pytest.raises(ConfigError, match="only ranks"):
        _model("gru").interest(Histories.from_lists([[1, 2]], 8), np.array([1]))


@pytest.mark.parametrize("name", NEURAL)
def test_requests_that_share_a_beginning_are_scored_as_if_alone(name: str) -> None:
    model = _model(name, max_length=4)
    items = np.array([1, 2, 3, 4, 5, 6, 7, 8, 1, 3], np.int32)
    start = np.array([0, 0, 0, 0, 6, 6, 0])
    end = np.array([3, 1, 9, 3, 8, 9, 10])
    together = model.score(Histories({"item": items}, start, end, 8))
    for row, (first, last) in enumerate(zip(start, end, strict=True)):
        alone = model.score(Histories.from_lists([items[first:last].tolist()], 8))
        torch.testing.assert_close(together[row], alone[0])
