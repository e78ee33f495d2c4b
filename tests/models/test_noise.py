"""Dropout and the generators that models draw from."""

from __future__ import annotations

import threading

import pytest
import torch

from onward.models import noise


def drawn(*seed: int) -> torch.Tensor:
    with noise.drawing(*seed):
        return torch.rand(4, generator=noise.generator())


def test_what_is_drawn_is_a_function_of_the_seed_in_any_thread() -> None:
    found: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: found.append(drawn(3, 7, 1)))
    with noise.drawing(9):
        thread.start()
        thread.join()
    assert torch.equal(found[0], drawn(3, 7, 1))
    assert not torch.equal(drawn(3, 7, 1), drawn(3, 7, 2))
    assert not torch.equal(drawn(3, 7, 1), drawn(7, 3, 1))


def test_outside_of_training_pytorch_decides() -> None:
    with noise.drawing(1):
        pass
    assert noise.generator() is torch.default_generator


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    with noise.drawing(0):
        x = noise.dropout(torch.ones(401, 999), rate, True)
    dropped = (x == 0).float().mean().item()
    assert dropped == pytest.approx(rate, abs=0.004)
    assert x.mean().item() == pytest.approx(1, abs=0.01)
    assert len(x.unique()) == 2
    rows = (x[:, 1:] == 0).float()
    assert (
        torch.corrcoef(torch.stack([rows[:, 0::2].flatten()[:190_000], rows[:, 1::2].flatten()[:190_000]]))[0, 1].abs()
        < 0.01
    )


def test_the_gradient_passes_where_the_activation_did() -> None:
    x = torch.full((50, 3), 2.0, requires_grad=True)
    with noise.drawing(5):
        y = noise.dropout(x, 0.5, True)
    y.sum().backward()
    assert torch.equal(x.grad * 2, y.detach())


def test_nothing_is_dropped_outside_of_training_or_at_rate_zero() -> None:
    x = torch.randn(5, 5)
    assert noise.dropout(x, 0.5, False) is x
    assert noise.dropout(x, 0.0, True) is x


def test_an_item_has_one_fate_in_a_step_whoever_asks() -> None:
    items = torch.arange(50_000)
    some = torch.tensor([40_000, 7, 7, 0])
    with noise.drawing(1, 2, 0):
        whole = noise.kept(items, 0.3)
        torch.rand(5, generator=noise.generator())  # what else is drawn changes nothing
        assert torch.equal(noise.kept(some, 0.3), whole[some])
        fewer = noise.kept(items, 0.6)
    assert whole.float().mean().item() == pytest.approx(0.7, abs=0.01)
    assert not (fewer & ~whole).any()
    with noise.drawing(1, 3, 0):
        other = noise.kept(items, 0.3)
    both = (whole & other).float().mean().item()
    assert both == pytest.approx(0.49, abs=0.015)  # steps are independent, and neighbours are
    assert (whole[1:] & whole[:-1]).float().mean().item() == pytest.approx(0.49, abs=0.015)
    assert not torch.equal(noise.kept(items, 0.3), noise.kept(items, 0.3))  # outside of a step each call draws
