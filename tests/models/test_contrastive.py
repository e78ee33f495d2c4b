"""The contrastive term: by hand, against the plain formula, and where a model takes its two views from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from onward.data.augment import Augmentation
from onward.data.epochs import TrainingBatches
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Items, build
from onward.models.losses import supervised_contrastive
from onward.models.registry import model_class


def test_by_hand() -> None:
    # cosines: 1 with itself, 0 between the axes; lengths don't count
    states = torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, 3.0]])
    e = math.exp(2)  # exp(1 / temperature)
    same = math.log((e + 2) / e)  # the other of its label, among three others
    assert supervised_contrastive(states, torch.tensor([4, 4, 9, 9]), 0.5).item() == pytest.approx(same)
    apart = math.log(e + 2)  # the other of its label stands at a right angle
    assert supervised_contrastive(states, torch.tensor([4, 9, 4, 9]), 0.5).item() == pytest.approx(apart)
    # one label: the mean over three positives
    assert supervised_contrastive(states, torch.tensor([1, 1, 1, 1]), 0.5).item() == pytest.approx(
        (same + 2 * apart) / 3
    )


def _plain(states: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    losses = []
    for i in range(len(states)):
        cosines = [torch.cosine_similarity(states[i], other, dim=0) / temperature for other in states]
        denominator = sum(cosines[a].exp() for a in range(len(states)) if a != i)
        positives = [p for p in range(len(states)) if p != i and labels[p] == labels[i]]
        losses.append(-sum((cosines[p].exp() / denominator).log() for p in positives) / len(positives))
    return sum(losses) / len(losses)


def test_value_and_gradient_of_the_plain_formula() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([3, 1, 3, 2, 5, 3, 1, 3, 2, 5])
    states = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    loss = supervised_contrastive(states, labels, 0.3)
    wanted = _plain(states, labels, 0.3)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(value, states)[0] for value in (loss, wanted)))


def _model(**settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    items = Items(np.arange(31), np.arange(31, dtype=np.int32))
    return build(model_class("sasrec"), {"width": 8, "dropout": 0.0, **settings}, items)


@pytest.mark.parametrize("windows", ["all", "prefix"])
@pytest.mark.parametrize("augmented", [False, True])
def test_a_model_contrasts_newest_states_by_their_next_items(windows: str, augmented: bool) -> None:
    lists = [[1, 2, 3, 4], [5, 6, 4], [7, 8], [9, 10, 11, 12, 8]]
    augmentation = Augmentation(["drop"], rows=1.0, strength=0.5) if augmented else None
    batches = TrainingBatches(
        Histories.from_lists(lists, 30), 10, 100, 0, windows, augmentation=augmentation, views=True
    )
    (rows,) = batches.epoch(0)
    batch = batches.batch(rows, (0, 0))
    assert (batch.view is not None) == augmented
    plain, both = _model(), _model(contrastive=0.7, temperature=0.4)
    view = batch.view or batch
    newest = plain.states(batch)[batch.lengths.cumsum(0) - 1], plain.states(view)[view.lengths.cumsum(0) - 1]
    targets = torch.from_numpy(batches.steps.histories.item[batches.last[rows]].astype(np.int64))
    wanted = plain.loss(batch) + 0.7 * _plain(torch.cat(newest), targets.repeat(2), 0.4)
    torch.testing.assert_close(both.loss(batch), wanted)


def test_dropout_alone_makes_two_views() -> None:
    batches = TrainingBatches(Histories.from_lists([[1, 2], [3, 4]], 30), 10, 100, 0)
    (rows,) = batches.epoch(0)
    still, shaken = _model(contrastive=1.0), _model(contrastive=1.0, dropout=0.5)
    shaken.train()
    loss = still.loss(batches.batch(rows))
    assert torch.equal(still.loss(batches.batch(rows)), loss)
    assert not torch.equal(shaken.loss(batches.batch(rows)), loss)


def test_a_cloze_has_no_next_item_to_contrast() -> None:
    with pytest.raises(ConfigError, match="bert4rec"):
        build(model_class("bert4rec"), {"contrastive": 0.1}, Items(np.arange(5), np.arange(5, dtype=np.int32)))
