"""Models of values: means by hand, and biased matrix factorisation against its own objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Recommender, build, make_items
from onward.models.registry import model_class

STARS = np.array([1, 5, 3, 5, 4, 2], np.float32)


def rated(lists: list[list[int]], values: np.ndarray, n: int) -> Histories:
    plain = Histories.from_lists(lists, n)
    return replace(plain, columns={**plain.columns, "value": values.astype(np.float32)})


def small() -> Histories:
    return rated([[1, 2], [1, 3, 2], [3]], STARS, 4)


def fitted(name: str, training: Histories, **settings: object) -> Recommender:
    model = build(model_class(name), settings, make_items(training, np.arange(training.n_items + 1, dtype=np.int32)))
    model.fit(training, 0)
    return model


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("global-mean", [20 / 6, 20 / 6, 20 / 6]),  # in stars
        ("user-mean", [3.0, 4.0, 2.0]),
        ("item-mean", [2.0, 3.5, 20 / 6]),  # items 1 and 3 have two ratings, item 4 none
    ],
)
def test_means_by_hand(name: str, expected: list[float]) -> None:
    model = fitted(name, small())
    low, high = model.value_range
    assert (low, high) == (1.0, 5.0)
    found = model.interest(small(), np.array([1, 3, 4])) * (high - low) + low
    assert found.tolist() == pytest.approx(expected)


def test_a_history_without_values_has_the_mean_of_all() -> None:
    plain = Histories.from_lists([[1, 2]], 4)
    for name in ("global-mean", "user-mean", "biased-mf"):
        model = fitted(name, small())
        found = float(model.interest(plain, np.array([4]))[0])
        assert found == pytest.approx((20 / 6 - 1) / 4)


def taste(seed: int = 0) -> Histories:
    """Two tastes: users of one like even items and not odd ones, those of the other the reverse."""
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(20)[:12] + 1 for _ in range(40)]
    values = [4.0 if (item + user) % 2 else 2.0 for user, items in enumerate(lists) for item in items]
    return rated([items.tolist() for items in lists], np.array(values), 20)


def test_factors_find_tastes_that_biases_cannot() -> None:
    model = fitted("biased-mf", taste(), factors=4, regularization=0.05)
    item = np.array([5, 6])
    even = rated([[2, 1, 4, 3]] * 2, np.tile([4, 2, 4, 2], 2), 20)
    odd = rated([[2, 1, 4, 3]] * 2, np.tile([2, 4, 2, 4], 2), 20)
    assert model.interest(even, item).tolist() == pytest.approx([0, 1], abs=0.15)
    assert model.interest(odd, item).tolist() == pytest.approx([1, 0], abs=0.15)


def test_the_solution_is_a_stationary_point_of_the_objective() -> None:
    training, power, ridge, bias_ridge = taste(), 0.5, 0.2, 0.1
    settings = {"factors": 3, "regularization": ridge, "bias_regularization": bias_ridge, "frequency_power": power}
    model = fitted("biased-mf", training, iterations=400, **settings)
    users = torch.from_numpy(model.fold_in(training)).requires_grad_()
    items = model.state()["items"].clone().requires_grad_()
    row, position = training.positions()
    item = training.item[position].astype(np.int64)
    value = torch.from_numpy((training.columns["value"][position] - 2.0) / 2.0).double()
    found = model.state()["mean"] + users[row, 0] + items[item, 0] + (users[row, 1:] * items[item, 1:]).sum(1)
    penalty = torch.tensor([bias_ridge, ridge, ridge, ridge], dtype=torch.float64)

    def cost(side: torch.Tensor, key: np.ndarray) -> torch.Tensor:
        counts = torch.from_numpy(np.bincount(key, minlength=len(side))) ** power
        return (counts[:, None] * penalty * side**2).sum()

    ((value - found) ** 2).sum().add(cost(users, row)).add(cost(items, item)).backward()
    assert users.grad is not None
    assert items.grad is not None
    assert users.grad.abs().max() < 1e-6  # folding in is the exact half of an alternation
    assert items.grad.abs().max() < 1e-3


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    one, same = fitted("biased-mf", taste()), fitted("biased-mf", taste())
    assert torch.equal(one.state()["items"], same.state()["items"])
    other = build(type(one), {}, one.items)
    other.fit(taste(), 1)
    assert not torch.equal(one.state()["items"], other.state()["items"])


@pytest.mark.parametrize("name", ["global-mean", "biased-mf"])
def test_training_without_values_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model '{name}' learns from the events' value column.*none"):
        fitted(name, Histories.from_lists([[1, 2]], 2))
    with pytest.raises(ConfigError, match="no two different values"):
        fitted(name, rated([[1, 2]], np.array([3, 3]), 2))
