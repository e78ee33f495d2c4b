"""Negatives: what is drawn follows the stated probabilities, and nothing unseen ever comes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.negatives import NegativeSampler

COUNTS = np.array([0, 10, 0, 40, 250])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_draws_follow_the_training_events_to_a_power(power: float) -> None:
    drawn = NegativeSampler(COUNTS, power).draw(200_000, generator=torch.Generator().manual_seed(0))
    weights = np.where(COUNTS > 0, COUNTS**power, 0)
    assert drawn.items.tolist() == [1, 3, 4]
    np.testing.assert_allclose(drawn.counts.numpy() / 200_000, (weights / weights.sum())[[1, 3, 4]], atol=0.005)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("in_batch", [False, True])
def test_an_item_is_there_as_often_as_stated(power: float, in_batch: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    sampler = NegativeSampler(COUNTS, power)
    times, stated = np.zeros(5), np.zeros(5)
    for _ in range(4_000):
        own = torch.tensor([3])
        others = torch.from_numpy(np.array([1, 3, 4]))[
            torch.multinomial(torch.tensor([10.0, 40.0, 250.0]), 2, replacement=True, generator=generator)
        ]
        drawn = sampler.draw(3, torch.cat([own, others]) if in_batch else None, generator)
        times[drawn.items.numpy()] += 1
        stated[drawn.items.numpy()] = drawn.log_included.exp().numpy()
    for item in (1, 4):  # item 3 is the target, so it is always there
        assert times[item] / 4_000 == pytest.approx(stated[item], abs=0.025)


def test_a_catalog_of_one_item_is_certain() -> None:
    drawn = NegativeSampler(np.array([0, 7]), 1.0).draw(3, torch.tensor([1, 1]))
    assert (drawn.items.tolist(), drawn.counts.tolist()) == ([1], [5.0])
    assert drawn.log_included.item() == pytest.approx(0.0, abs=1e-6)
