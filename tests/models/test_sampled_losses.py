"""Losses against a sample: numbers worked by hand, the plain formulation, finite differences, convergence."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from onward.data.negatives import NegativeSampler
from onward.models import losses, sampled_losses
from onward.models.base import Items, build
from onward.models.objective import EXACT_ITEMS, ObjectiveConfig, ranking_loss
from onward.models.registry import model_class

PAIRWISE = {
    "bce": sampled_losses.bce,
    "gbce": partial(sampled_losses.gbce, rate=0.2, calibration=0.75),
    "bpr": sampled_losses.bpr,
    "bpr_max": partial(sampled_losses.bpr_max, regularization=0.5),
}
SOFTPLUS_2 = math.log(1 + math.exp(2))


def _problem(n: int = 7, width: int = 4, negatives: int = 6) -> dict[str, Tensor]:
    """Predictions of which some have their target among the negatives, items 10, 11, ..."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    targets = torch.tensor([3, 10, 4, 12, 12, 5, 6])[:n]
    return {
        "positive": normal(n),
        "states": normal(n, width),
        "vectors": normal(negatives, width),
        "bias": normal(negatives),
        "hits": sampled_losses.find_hits(targets, torch.arange(10, 10 + negatives)),
        "weights": torch.rand(n, generator=generator, dtype=torch.float64) + 0.1,
    }


LEAVES = ("positive", "states", "vectors", "bias")


def _plain_softmax(positive: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """-log of the target's share, each negative standing for `counts` items."""
    logits = torch.cat([positive[:, None], negative + counts.log()], 1)
    return torch.logsumexp(logits, 1) - positive


def _plain(loss, problem: dict[str, Tensor], counts: Tensor) -> Tensor:
    """The mean of a loss with the whole matrix of logits and a mask, by autograd."""
    negative = problem["states"] @ problem["vectors"].T + problem["bias"]
    kept = counts * (torch.arange(negative.shape[1]) != problem["hits"][:, None])
    values, weights = loss(problem["positive"], negative, kept), problem["weights"]
    return (values * weights).sum() / weights.sum()


def test_hits_are_places_among_the_negatives() -> None:
    found = sampled_losses.find_hits(torch.tensor([4, 9, 1, 20, 7]), torch.tensor([4, 7, 15]))
    assert found.tolist() == [0, -1, -1, -1, 1]


@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_sampled_softmax_equals_the_plain_one_in_value_and_gradients(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled_losses, "CHUNK_ROWS", chunk)
    problem = _problem()
    log_included = torch.linspace(-3, 0, 6, dtype=torch.float64)
    plain = _plain(_plain_softmax, problem, (-log_included).exp())
    fused = sampled_losses.sampled_softmax(**problem, log_included=log_included)
    torch.testing.assert_close(fused, plain)
    leaves = [problem[name] for name in LEAVES]
    expected = torch.autograd.grad(plain, leaves)
    torch.testing.assert_close(torch.autograd.grad(3 * fused, leaves), tuple(3 * part for part in expected))


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_chunks_change_neither_value_nor_gradient(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled_losses, "CHUNK_ROWS", chunk)
    problem, counts = _problem(), torch.tensor([1, 2, 1, 1, 3, 1], dtype=torch.float64)
    plain = _plain(PAIRWISE[name], problem, counts)
    chunked = sampled_losses.mean_over_predictions(PAIRWISE[name], **problem, counts=counts)
    torch.testing.assert_close(chunked, plain)
    leaves = [problem[name] for name in LEAVES]
    expected = torch.autograd.grad(plain, leaves)
    torch.testing.assert_close(torch.autograd.grad(3 * chunked, leaves), tuple(3 * part for part in expected))


@pytest.mark.parametrize("name", [*PAIRWISE, "sampled_softmax"])
def test_gradients_match_finite_differences(name: str) -> None:
    problem = _problem(n=4, width=2, negatives=3)
    counts = torch.tensor([1, 2, 1], dtype=torch.float64)

    def loss(*leaves: Tensor) -> Tensor:
        given = {**problem, **dict(zip(LEAVES, leaves, strict=True))}
        if name == "sampled_softmax":
            return sampled_losses.sampled_softmax(**given, log_included=-counts)
        return sampled_losses.mean_over_predictions(PAIRWISE[name], **given, counts=counts)

    assert torch.autograd.gradcheck(loss, [problem[name] for name in LEAVES])


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_negative_drawn_twice_counts_as_two(name: str) -> None:
    positive, negative = torch.tensor([0.3, -1.0]), torch.tensor([[0.5, -0.2], [2.0, 0.1]])
    twice, counts = negative[:, [0, 0, 1]], torch.tensor([[2.0, 1.0]]).expand(2, 2)
    torch.testing.assert_close(
        PAIRWISE[name](positive, negative, counts), PAIRWISE[name](positive, twice, torch.ones(2, 3))
    )


@pytest.mark.parametrize("name", PAIRWISE)
def test_without_any_negative_nothing_is_infinite(name: str) -> None:
    positive = torch.tensor([0.3], requires_grad=True)
    negative = torch.tensor([[0.5, -0.2]], requires_grad=True)
    loss = PAIRWISE[name](positive, negative, torch.zeros(1, 2)).sum()
    gradients = torch.autograd.grad(loss, (positive, negative))
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[1] == 0).all()


def test_bce_and_bpr_by_hand() -> None:
    positive, negative = torch.tensor([0.0]), torch.tensor([[0.0, 2.0]])
    against = (math.log(2) + SOFTPLUS_2) / 2
    assert sampled_losses.bce(positive, negative, torch.ones(1, 2)).item() == pytest.approx(math.log(2) + against)
    assert sampled_losses.bpr(positive, negative, torch.ones(1, 2)).item() == pytest.approx(against)
    assert sampled_losses.bpr(positive, negative, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(math.log(2))


def test_gbce_by_hand() -> None:
    positive, negative = torch.tensor([0.0]), torch.tensor([[0.0, 2.0]])
    found = sampled_losses.gbce(positive, negative, torch.ones(1, 2), rate=0.1, calibration=0.75)
    beta = 0.325  # 0.1 (0.75 (1 - 10) + 10)
    assert found.item() == pytest.approx((beta * math.log(2) + math.log(2) + SOFTPLUS_2) / 3)
    plain = sampled_losses.gbce(positive, negative, torch.ones(1, 2), rate=0.1, calibration=0.0)
    assert plain.item() == pytest.approx((2 * math.log(2) + SOFTPLUS_2) / 3)


def test_bpr_max_by_hand() -> None:
    positive, negative = torch.tensor([1.0]), torch.tensor([[0.0, math.log(3)]])  # shares 1/4 and 3/4
    beaten = 0.25 / (1 + math.exp(-1)) + 0.75 / (1 + 3 * math.exp(-1))
    penalty = 0.75 * math.log(3) ** 2
    found = sampled_losses.bpr_max(positive, negative, torch.ones(1, 2), regularization=0.5)
    assert found.item() == pytest.approx(0.5 * penalty - math.log(beaten))
    only_first = sampled_losses.bpr_max(positive, negative, torch.tensor([[1.0, 0.0]]), regularization=0.5)
    assert only_first.item() == pytest.approx(math.log(1 + math.exp(-1)))


@pytest.mark.parametrize("name", [*PAIRWISE, "sampled_softmax"])
def test_every_loss_weighs_predictions(name: str) -> None:
    problem = {key: tensor.detach() for key, tensor in _problem().items()}
    counts = torch.ones(6, dtype=torch.float64)

    def loss(given: dict[str, Tensor]) -> Tensor:
        if name == "sampled_softmax":
            return sampled_losses.sampled_softmax(**given, log_included=-counts)
        return sampled_losses.mean_over_predictions(PAIRWISE[name], **given, counts=counts)

    only_second = torch.zeros(7, dtype=torch.float64)
    only_second[1] = 0.4
    per_prediction = ("positive", "states", "hits", "weights")
    alone = {key: tensor[1:2] if key in per_prediction else tensor for key, tensor in problem.items()}
    torch.testing.assert_close(loss({**problem, "weights": only_second}), loss(alone))


# convergence to the loss over the whole catalog


def _catalog(items: int = 60, n: int = 40, width: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(n, width, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(items + 1, width, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(items + 1, generator=generator, dtype=torch.float64, requires_grad=True)
    counts = torch.randint(1, 200, (items + 1,), generator=generator)
    counts[0] = 0
    targets = torch.multinomial(counts.double(), n, replacement=True, generator=generator)
    return states, table, bias, targets, counts


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.7])
def test_sampled_softmax_converges_to_the_full_one_in_value_and_gradient(power: float, in_batch: bool) -> None:
    states, table, bias, targets, counts = _catalog()
    weights = torch.ones(len(targets), dtype=torch.float64)
    full = losses.full_softmax(states, table[1:], bias[1:], targets - 1, weights)
    wanted = [full, *torch.autograd.grad(full, (states, table, bias))]
    sampler = NegativeSampler(counts.numpy(), power)

    def error(negatives: int) -> np.ndarray:
        """Root mean square over 10 draws of the relative error of value and gradients."""
        config = ObjectiveConfig(
            loss="sampled_softmax", negatives=negatives, negatives_power=power, negatives_in_batch=in_batch
        )
        squares = np.zeros(4)
        for _ in range(10):
            loss = ranking_loss(states, targets, weights, table, bias, sampler, config)
            found = [loss, *torch.autograd.grad(loss, (states, table, bias))]
            pairs = zip([one.to_dense() for one in found], wanted, strict=True)
            squares += [((one - other).norm() / other.norm()).item() ** 2 for one, other in pairs]
        return np.sqrt(squares / 10)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        few, more, all_of_them = error(20), error(100), error(50_000)
    assert (more < few).all()
    assert (all_of_them < 1e-4).all()


@pytest.mark.parametrize("in_batch", [False, True])
def test_the_sum_over_negatives_estimates_that_over_the_catalog_without_bias(in_batch: bool) -> None:
    counts = np.array([0, 5, 20, 1, 40, 9])
    sampler = NegativeSampler(counts, 0.5)
    exponentials = torch.tensor([0.0, 3.0, 1.0, 8.0, 0.5, 2.0])
    target, generator = 2, torch.Generator().manual_seed(0)
    sums = []
    for _ in range(6_000):
        others = torch.multinomial(torch.from_numpy(counts).float(), 3, replacement=True, generator=generator)
        targets = torch.cat([torch.tensor([target]), others]) if in_batch else None
        drawn = sampler.draw(2, targets, generator)
        kept = drawn.items != target
        sums.append((exponentials[drawn.items] * (-drawn.log_included).exp())[kept].sum())
    wanted = float(exponentials.sum() - exponentials[target])
    spread = float(torch.stack(sums).std()) / math.sqrt(len(sums))
    assert float(torch.stack(sums).mean()) == pytest.approx(wanted, abs=4 * spread)


def test_losses_of_the_settings_reach_every_choice() -> None:
    states, table, bias, targets, counts = _catalog()
    weights = torch.ones(len(targets), dtype=torch.float64)
    sampler = NegativeSampler(counts.numpy(), 0.0)
    found = {}
    for name in ("cross_entropy", "sampled_softmax", *PAIRWISE):
        torch.manual_seed(0)
        config = ObjectiveConfig(loss=name)
        found[name] = ranking_loss(states, targets, weights, table, bias, sampler, config).item()
    assert len({round(value, 9) for value in found.values()}) == 6
    assert found["cross_entropy"] == pytest.approx(
        F.cross_entropy((states @ table.T + bias)[:, 1:], targets - 1).item()
    )


def test_auto_is_exact_until_the_catalog_is_large() -> None:
    assert ObjectiveConfig().resolved(EXACT_ITEMS).loss == "cross_entropy"
    assert ObjectiveConfig().resolved(EXACT_ITEMS + 1).loss == "sampled_softmax"
    assert ObjectiveConfig(loss="cross_entropy").resolved(EXACT_ITEMS + 1).loss == "cross_entropy"
    large = build(model_class("gru"), {"width": 2}, Items(np.ones(EXACT_ITEMS + 2, int), np.arange(EXACT_ITEMS + 2)))
    assert large.config.loss == "sampled_softmax"
    assert large.input.sparse
