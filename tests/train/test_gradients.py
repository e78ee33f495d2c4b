"""The gradient of a batch, in parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.models.base import Items, build
from onward.models.registry import model_class
from onward.models.sequence import SequenceModel
from onward.threads import team
from onward.train.gradients import Gradients

ITEMS = 30


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _training() -> Histories:
    random = np.random.default_rng(3)
    return Histories.from_lists([random.integers(1, ITEMS + 1, n).tolist() for n in random.integers(2, 25, 40)], ITEMS)


def _gradients(parts: int, step: int = 0, **settings: object) -> tuple[float, list[torch.Tensor]]:
    training = _training()
    torch.manual_seed(0)
    items = Items(training.item_counts(), np.arange(ITEMS + 1, dtype=np.int32))
    model = build(model_class("sasrec"), {"width": 16, "max_length": 20, **settings}, items)
    assert isinstance(model, SequenceModel)
    batches = TrainingBatches(training, 20, 10_000, seed=0)
    (windows,) = batches.epoch(0)
    model.train()
    with team(parts) as threads:
        assert len(batches.parts(windows, threads.size)) == parts
        loss, targets = Gradients(model, batches, 7, threads).of(windows, step)
    assert targets == batches.n_targets
    return loss.item(), [p.grad.to_dense() for p in model.parameters() if p.grad is not None]


def test_parts_together_give_the_gradient_of_the_whole() -> None:
    whole, gradients = _gradients(1, dropout=0.0)
    for parts in (2, 3):
        again, others = _gradients(parts, dropout=0.0)
        assert again == pytest.approx(whole, rel=1e-5)
        assert len(others) == len(gradients)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax"])
def test_the_same_step_gives_the_same_bits_and_another_does_not(loss: str) -> None:
    first, gradients = _gradients(3, dropout=0.3, loss=loss)
    for _ in range(3):  # threads finish in whatever order they like
        again, others = _gradients(3, dropout=0.3, loss=loss)
        assert again == first
        assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))
    assert _gradients(3, step=1, dropout=0.3, loss=loss)[0] != first


@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_parts_hold_every_window_once_and_about_equal_steps(n: int) -> None:
    batches = TrainingBatches(_training(), 20, 200, seed=0)
    for windows in batches.epoch(0):
        parts = batches.parts(windows, n)
        assert len(parts) <= n
        assert all(len(part) for part in parts)
        assert np.array_equal(np.concatenate(parts), windows)
        if n == 2 and len(windows) > 1:
            steps = [int((batches.last[part] - batches.first[part]).sum()) for part in parts]
            assert abs(steps[0] - steps[1]) <= 2 * 20
