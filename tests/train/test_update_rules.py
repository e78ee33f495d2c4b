"""Update rules: the bits of `torch.optim`, without what its class imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from onward.train.update_rules import Adagrad, AdamW, UpdateRule

Parameters = Sequence[nn.Parameter]
DECAY, RATES = 0.1, (0.05, 0.03, 0.03, 0.01)
RULES: dict[str, tuple[Callable[[Parameters], UpdateRule], Callable[[Parameters], torch.optim.Optimizer]]] = {
    "adamw": (
        lambda some: AdamW([(some[:2], DECAY), (some[2:], 0.0)], 1.0),
        lambda some: torch.optim.AdamW(
            [{"params": some[:2], "weight_decay": DECAY}, {"params": some[2:], "weight_decay": 0.0}],
            lr=1.0,
            betas=(0.9, 0.98),
            fused=True,
        ),
    ),
    "adagrad": (lambda some: Adagrad(some, 1.0), lambda some: torch.optim.Adagrad(some, lr=1.0)),
}


def _parameters() -> list[nn.Parameter]:
    drawn = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=drawn)) for shape in ((7, 5), (3, 2, 4), (9,), (6, 1))]


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_those_of_pytorch_to_the_last_bit(rule: str) -> None:
    ours, theirs = _parameters(), _parameters()
    make, reference = RULES[rule]
    mine, wanted = make(ours), reference(theirs)
    drawn = torch.Generator().manual_seed(2)
    for step, rate in enumerate(RATES):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(one.shape, generator=drawn)
            one.grad = other.grad = None if step == number else gradient  # each once without a gradient
        mine.learning_rate = rate
        for group in wanted.param_groups:
            group["lr"] = rate
        mine.step()
        wanted.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other), (step, one.shape)
    for one, other in zip(ours, theirs, strict=True):
        assert mine.state[one].keys() == wanted.state[other].keys()
        assert all(torch.equal(tensor, wanted.state[other][name]) for name, tensor in mine.state[one].items())


def test_weight_decay_reaches_its_group_alone() -> None:
    parameters = _parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    rule = RULES["adamw"][0](parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    rule.step()  # of a step size of 1: nothing but the decay
    for parameter, old, decay in zip(parameters, before, (DECAY, DECAY, 0.0, 0.0), strict=True):
        torch.testing.assert_close(parameter.detach(), old * (1 - decay))


def test_a_training_step_imports_nothing_of_the_compiler() -> None:
    code = """
import sys, numpy as np, torch
from onward.config import TrainConfig
from onward.models.base import Items, build
from onward.models.registry import model_class
from onward.train.optim import make_optimiser
items = Items(np.full(9, 3), np.arange(9, dtype=np.int32))
for loss in ("cross_entropy", "sampled_softmax"):
    for kind in ("adamw", "adagrad"):
        model = build(model_class("sasrec"), {"width": 8, "loss": loss, "negatives": 4}, items)
        optimiser = make_optimiser(model, TrainConfig(optimiser=kind))
        sum(parameter.sum() for parameter in model.parameters()).backward()
        optimiser.update(1.0)
print("MODULES", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split("MODULES", 1)[1].split())
    assert "torch.optim" in modules
    assert "torch._dynamo" not in modules
