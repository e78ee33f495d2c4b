"""eSASRec's block against its equations."""

from __future__ import annotations

import math

import torch

from onward.models.esasrec import ESASRecConfig, LiGRBlock


def _linear(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return x @ layer.weight.T + (0 if layer.bias is None else layer.bias)


def _norm(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()


def test_a_block_follows_its_equations_step_by_step() -> None:
    torch.manual_seed(0)
    block = LiGRBlock(ESASRecConfig(width=6, heads=2, feed_forward=3)).eval()
    x = torch.randn(5, 6)
    query, key, value = _linear(block.query_key_value, _norm(x)).split(6, dim=1)
    mixed = torch.zeros(5, 6)
    for step in range(5):
        for head in (slice(0, 3), slice(3, 6)):
            logits = key[: step + 1, head] @ query[step, head] / math.sqrt(3)
            mixed[step, head] = logits.softmax(0) @ value[: step + 1, head]
    after = x + torch.sigmoid(_linear(block.attention_gate, x)) * _linear(block.project, mixed)
    gate, widened = _linear(block.widen, _norm(after)).split(18, dim=1)
    inner = gate * torch.sigmoid(gate) * widened
    wanted = after + torch.sigmoid(_linear(block.forward_gate, after)) * _linear(block.narrow, inner)
    torch.testing.assert_close(block(x[None])[0], wanted)


def test_a_closed_gate_lets_nothing_in() -> None:
    torch.manual_seed(0)
    block = LiGRBlock(ESASRecConfig(width=6)).eval()
    for gate in (block.attention_gate, block.forward_gate):
        torch.nn.init.constant_(gate.bias, -1e4)
    x = torch.randn(1, 4, 6)
    assert torch.equal(block(x), x)
