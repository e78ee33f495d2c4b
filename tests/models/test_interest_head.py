"""The head that learns interest: sums by hand, second heads, events, and models made before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Items, build
from onward.models.features.category_column import CategoryColumn
from onward.models.interest_head import SLOPE
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


def test_what_past_values_say_is_part_of_the_interest() -> None:
    model = made(loss="mse", interest_factors=3)
    model.start_training(rated())
    head = model.interest_head
    assert head is not None
    assert head.process is not None
    steps = Steps(rated())
    batch = steps.encode(steps.start, steps.end)
    told = head.process.told((batch.values - 1) / 4, batch)
    states = model.states(batch)
    said = head.process.of_items()[5] + told.offset[2] + told.vector[2] @ head.process.vectors[5]
    wanted = SLOPE * (said - 0.5) + states[2] @ model.input.weight[5] + model.output_bias[5]
    torch.testing.assert_close(model.interest(rated(), np.array([5, 5]))[0], wanted.sigmoid())


def test_nobody_knows_a_new_user_but_the_item() -> None:
    model = made(loss="mse", interest_factors=3)
    model.start_training(rated())
    head = model.interest_head
    assert head is not None
    assert head.process is not None
    nothing = Histories({**rated().columns}, np.array([0, 0]), np.array([0, 0]), 8)
    wanted = (SLOPE * (head.process.of_items()[[2, 8]] - 0.5)).sigmoid()
    torch.testing.assert_close(model.interest(nothing, np.array([2, 8])), wanted)
    assert float(wanted[1]) == pytest.approx(float((SLOPE * (head.process.mean - 0.5)).sigmoid()))  # never rated


def test_without_a_closed_form_items_start_at_their_means() -> None:
    model = made(loss="mse", interest_factors=0)
    model.start_training(rated())
    nothing = Histories({**rated().columns}, np.array([0]), np.array([0]), 8)
    # item 1 has the value 1, interest 0, and five events at the mean of all, 0.5
    assert model.interest(nothing, np.array([1])).item() == pytest.approx(5 * 0.5 / 6)


def test_scores_of_a_model_of_interest_alone_are_in_the_order_of_interest() -> None:
    model = made(loss="mse")
    model.start_training(rated())
    order = model.score_histories(rated())[:, 1:].argsort(1)
    assert torch.equal(order, model.interests(rated())[:, 1:].argsort(1))
    one = model.interest(rated(), np.array([5, 6]))
    torch.testing.assert_close(one, model.interests(rated())[[0, 1], [5, 6]])


def test_the_order_of_interest_is_kept_beside_what_is_known_of_who_asks() -> None:
    """States are told who asks before what past values say is scored with them."""
    model = made(loss="mse", interest_factors=3)
    column = CategoryColumn(owner="users", name="age", key="users.age", kind="category", vocabulary=["young", "old"])
    model.use_features([column], None)
    model.start_training(rated())
    asked = replace(rated(), about={"users.age": column.read(pl.Series(["young", "old"]))})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    found = model.interests(asked)
    assert torch.equal(model.score_histories(asked)[:, 1:].argsort(1), found[:, 1:].argsort(1))
    other = replace(asked, about={"users.age": column.read(pl.Series(["old", "old"]))})
    assert not torch.equal(found[0], model.interests(other)[0])
    assert torch.equal(found[1], model.interests(other)[1])


def test_an_encoder_alone_says_a_level_whatever_the_item() -> None:
    model = made(loss="mse", interest_factors=0)
    model.start_training(rated())
    with torch.no_grad():
        model.input.weight.zero_()
    head, means = model.interest_head, (model.output_bias[[5, 6]]).detach()
    assert head is not None
    found = model.interest(Histories({**rated().columns}, np.array([0, 0]), np.array([3, 3]), 8), np.array([5, 6]))
    level = found.logit() - means
    assert level[0].item() == pytest.approx(level[1].item(), abs=1e-6)
    assert abs(level[0].item()) > 1e-4


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


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"loss": "interest"}, "doesn't say how"), ({"loss": "mse", "interest": "bce"}, "two ways to learn interest")],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**settings)
