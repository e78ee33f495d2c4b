"""LRURec's scan against the plain recurrence, and its states one step at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.models.base import Items, build
from onward.models.lru import LRUBlock, LRURec, LRURecConfig, scan


def _slow(inputs: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    states = [inputs[:, 0]]
    for step in range(1, inputs.shape[1]):
        states.append(decay * states[-1] + inputs[:, step])
    return torch.stack(states, 1)


def _random(length: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(length)
    decay = torch.polar(torch.rand(5, dtype=torch.float64), 6 * torch.rand(5, dtype=torch.float64)).to(dtype)
    return torch.randn(3, length, 5, dtype=dtype), decay


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 200])
def test_scan_is_the_recurrence(length: int) -> None:
    inputs, decay = _random(length, torch.complex128)
    before = inputs.clone()
    torch.testing.assert_close(scan(inputs, decay), _slow(inputs, decay))
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_gradients_of_scan_are_those_of_the_recurrence(length: int) -> None:
    inputs, decay = (tensor.requires_grad_() for tensor in _random(length, torch.complex128))
    assert torch.autograd.gradcheck(scan, (inputs, decay))
    weights = torch.randn(3, length, 5, dtype=torch.complex128)
    wanted = torch.autograd.grad((_slow(inputs, decay) * weights).real.sum(), (inputs, decay), allow_unused=True)
    given = torch.autograd.grad((scan(inputs, decay) * weights).real.sum(), (inputs, decay))
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)


def test_a_unit_starts_on_its_ring_and_keeps_the_scale_of_its_input() -> None:
    torch.manual_seed(0)
    block = LRUBlock(LRURecConfig(width=64))
    block.initialise()
    assert 0.8 <= block._decay().abs().min() < block._decay().abs().max() <= 0.99
    noise = torch.randn(4, 2000, 128, dtype=torch.complex64) * block.gain_log.exp()
    assert scan(noise, block._decay())[:, 500:].abs().square().mean().item() == pytest.approx(1, rel=0.1)


def test_a_unit_forgets_whatever_it_learned_to_be() -> None:
    block = LRUBlock(LRURecConfig(width=4))
    for parameter in (block.decay_log, block.turn_log):
        torch.nn.init.normal_(parameter, std=3)
    assert (block._decay().abs() < 1).all()


def test_the_state_reads_on_past_the_window() -> None:
    torch.manual_seed(0)
    model = build(LRURec, {"width": 4, "max_length": 3}, Items(np.arange(9), np.arange(9, dtype=np.int32))).eval()
    state = model.start_state(1)
    size = state.shape
    for item in [1, 2, 3, 4, 5, 6, 7, 8] * 10:
        state, answer = model.advance(state, model.input(torch.tensor([item]), None))
    assert state.shape == size
    assert answer.isfinite().all()
