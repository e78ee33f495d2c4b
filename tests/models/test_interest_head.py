"""The head that learns interest: sums by hand, second heads, events, and models made before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Items, build
from onward.models.interest_head import _running
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel


def made(name: str = "gru", **settings: object) -> SequenceModel:
    torch.manual_seed(0)
    items = Items(np.array([0, 3, 3, 2, 2, 1, 1, 1, 1]), np.arange(9, dtype=np.int32))
    model = build(model_class(name), {"width": 6, "dropout": 0.0, **settings}, items)
    assert isinstance(model, SequenceModel)
    return model


def rated() -> Histories:
    columns = {"item": np.array([1, 2, 3, 4, 2], np.int32), "value": np.array([1, 5, 4, 2, 3], np.float32)}
    return Histories(columns, np.array([0, 3]), np.array([3, 5]), 8)


def test_running_sums_start_anew_in_each_row() -> None:
    sums = _running(torch.tensor([1.0, 2, 3, 10, 20]), torch.tensor([3, 2]))
    assert sums.tolist() == [1, 3, 6, 10, 30]


def test_what_past_values_say_by_hand() -> None:
    model = made(loss="mse")
    model.start_training(rated())
    head = model.interest_head
    assert head is not None
    steps = Steps(rated())
    told = head.told(steps.encode(steps.start, steps.end), None)
    beyond = [
        (value - 1) / 4 - float(head.item_means[item]) for item, value in ((1, 1), (2, 5), (3, 4), (4, 2), (2, 3))
    ]
    prior = float(torch.nn.functional.softplus(torch.tensor(5.0)))
    assert told.offset[2].item() == pytest.approx(4 * sum(beyond[:3]) / (3 + prior), rel=1e-5)
    assert told.offset[3].item() == pytest.approx(4 * beyond[3] / (1 + prior), rel=1e-5)
    weights = head.valued.weight[[1, 2, 3]]
    wanted = (torch.tensor(beyond[:3])[:, None] * weights).sum(0) / 2  # the root of 3 + 1
    assert told.vector is not None
    torch.testing.assert_close(told.vector[2], wanted, rtol=1e-4, atol=1e-6)


def test_scores_of_a_model_of_interest_alone_are_in_the_order_of_interest() -> None:
    model = made(loss="mse")
    model.start_training(rated())
    order = model.score_histories(rated())[:, 1:].argsort(1)
    assert torch.equal(order, model.interests(rated())[:, 1:].argsort(1))
    one = model.interest(rated(), np.array([5, 6]))
    torch.testing.assert_close(one, model.interests(rated())[[0, 1], [5, 6]])


@pytest.mark.parametrize("of", ["values", "events"])
@pytest.mark.parametrize("interest", ["mse", "bce"])
@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "interest"])
def test_a_head_learns_beside_ranking_or_alone(loss: str, interest: str, of: str) -> None:
    model = made("sasrec", loss=loss, interest=interest, interest_of=of, output="separate")
    model.start_training(rated())
    steps = Steps(rated())
    batch = steps.train(steps.start, steps.end - 1)
    model.loss(batch).backward()
    untouched = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not untouched  # alone, the head scores by the tables that would rank
    assert model.interest_of == of
    assert (model.value_range is None) == (of == "events")
    found = model.interest(rated(), np.array([5, 6]))
    assert ((found > 0) & (found < 1)).all()


def test_a_second_head_leaves_the_order_of_the_ranking_to_the_ranking() -> None:
    model = made(interest="mse")
    model.start_training(rated())
    before = model.score_histories(rated())
    with torch.no_grad():
        model.interest_head.items.weight.add_(1.0)
    assert torch.equal(before, model.score_histories(rated()))


def test_a_model_made_before_the_head_summed_answers_as_it_did() -> None:
    model = made(loss="mse", output="separate")
    model.start_training(rated())
    state = {name: tensor for name, tensor in model.state().items() if not name.startswith("interest_head.")}
    torch.manual_seed(1)
    state |= {"value_input": torch.randn(6), "value_bounds": torch.tensor([1.0, 5.0])}
    model.load_state(state)
    assert model.value_range == (1.0, 5.0)
    steps = Steps(rated())
    batch = steps.encode(steps.start, steps.end)
    inputs = model.input(batch.items, None) + ((batch.values - 1) / 4 - 0.5)[:, None] * state["value_input"]
    states, _ = model.recurrent(inputs[None, :3] * model.scale)
    wanted = (states[0, -1] @ state["output.weight"][5] + state["output_bias"][5]).sigmoid()
    torch.testing.assert_close(model.interest(rated(), np.array([5, 5]))[0], wanted)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"loss": "interest"}, "doesn't say how"), ({"loss": "mse", "interest": "bce"}, "two ways to learn interest")],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**settings)
