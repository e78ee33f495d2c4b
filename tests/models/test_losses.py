"""Losses against hand-worked numbers, the plain formulation, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from onward.models import losses


def _problem(n: int = 7, width: int = 5, items: int = 11) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(n, width, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(items, width, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(items, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(items, (n,), generator=generator)
    weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    return states, table, bias, targets, weights


@pytest.mark.parametrize("chunk", [1, 3, 7, 1024])
def test_chunked_softmax_equals_the_plain_one_in_value_and_gradients(chunk: int) -> None:
    states, table, bias, targets, weights = _problem()
    plain = F.cross_entropy(states @ table.T + bias, targets, reduction="none")
    plain = (plain * weights).sum() / weights.sum()
    expected = torch.autograd.grad(plain, (states, table, bias))
    chunked = losses.full_softmax(states, table, bias, targets, weights, chunk_rows=chunk)
    torch.testing.assert_close(chunked, plain)
    torch.testing.assert_close(torch.autograd.grad(3 * chunked, (states, table, bias)), tuple(3 * g for g in expected))


@pytest.mark.parametrize("chunk", [1, 2, 4, 1024])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_softmax_of_shared_states_and_of_mixtures_equals_the_plain_one(chunk: int, shared: bool, mixed: bool) -> None:
    states, table, bias, targets, weights = _problem()
    owners = torch.tensor([0, 0, 0, 2, 3, 3, 6]) if shared else None  # three states predict nothing
    generator = torch.Generator().manual_seed(4)
    gate = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    copied = torch.rand(7, generator=generator, dtype=torch.float64, requires_grad=True)
    log_copied = torch.where(torch.arange(7) == 4, -torch.inf, copied.log())  # one target can't come from elsewhere
    mixture = (F.logsigmoid(gate), F.logsigmoid(-gate) + log_copied) if mixed else None
    inputs = (states, table, bias, gate, copied) if mixed else (states, table, bias)

    each = states if owners is None else states[owners]
    chosen = (each @ table.T + bias).softmax(1)[torch.arange(7), targets]
    plain = (gate.sigmoid() * chosen + (1 - gate.sigmoid()) * log_copied.exp()) if mixed else chosen
    wanted = -(plain.log() * weights).sum() / weights.sum()
    loss = losses.full_softmax(states, table, bias, targets, weights, chunk_rows=chunk, owners=owners, copied=mixture)
    torch.testing.assert_close(loss, wanted)
    expected = torch.autograd.grad(wanted, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, inputs), tuple(3 * grad for grad in expected))


def test_softmax_in_bfloat16_stays_close() -> None:
    states, table, bias, targets, weights = (
        tensor.detach().float().requires_grad_() if tensor.is_floating_point() else tensor
        for tensor in _problem(n=500, width=32, items=400)
    )
    exact = losses.full_softmax(states, table, bias, targets, weights)
    low = losses.full_softmax(states, table, bias, targets, weights, torch.bfloat16)
    assert low.item() == pytest.approx(exact.item(), rel=0.01)
    pairs = zip(*(torch.autograd.grad(loss, (states, table, bias)) for loss in (low, exact)), strict=True)
    for got, wanted in pairs:
        assert got.dtype == torch.float32
        assert (got - wanted).norm() < 0.02 * wanted.norm()


def test_chunked_softmax_matches_finite_differences() -> None:
    states, table, bias, targets, weights = _problem(n=3, width=2, items=4)
    assert torch.autograd.gradcheck(
        lambda s, t, b: losses.full_softmax(s, t, b, targets, weights), (states, table, bias)
    )


def test_softmax_of_equal_logits_is_log_of_the_catalog() -> None:
    zeros = torch.zeros(2, 3)
    loss = losses.full_softmax(zeros, torch.zeros(8, 3), torch.zeros(8), torch.tensor([1, 5]), torch.ones(2))
    assert loss.item() == pytest.approx(math.log(8))


def test_softmax_refuses_widths_that_differ() -> None:
    with pytest.raises(ValueError, match="3 wide and the item table is 4"):
        losses.full_softmax(torch.zeros(2, 3), torch.zeros(8, 4), torch.zeros(8), torch.tensor([1, 5]), torch.ones(2))


def test_mse_by_hand() -> None:
    predicted, wanted = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.5])
    assert losses.mse(predicted, wanted, torch.tensor([1.0, 3.0])).item() == pytest.approx(0.25)
    assert losses.mse(predicted, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])).item() == pytest.approx(0.0625)
