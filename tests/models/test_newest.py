"""The newest step of each row alone, against the same step of all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.models import hstu
from onward.models.base import Items, build
from onward.models.newest import NewestAlone
from onward.models.registry import model_class

NAMES = ["sasrec", "esasrec", "bsarec", "hstu", "lrurec"]
HOUR = 3_600_000_000


def _model(name: str) -> NewestAlone:
    torch.manual_seed(0)
    settings = {"width": 8, "dropout": 0.0, **({} if name == "lrurec" else {"heads": 2})}
    model = build(model_class(name), settings, Items(np.arange(41), np.arange(41, dtype=np.int32)))
    assert isinstance(model, NewestAlone)
    for parameter in model.parameters():  # away from the symmetric start, so that every term counts
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def _batch(lengths: list[int]) -> Batch:
    """Rows of items and times, each asked some hours after its newest event."""
    rng, ends = np.random.default_rng(0), np.cumsum(lengths)
    columns = {
        "item": rng.integers(1, 41, ends[-1]).astype(np.int32),
        "time": np.concatenate([np.sort(rng.integers(0, 100 * HOUR, length)) for length in lengths]),
    }
    steps = Steps(Histories(columns, ends - lengths, ends, 40))
    return steps.encode(steps.start, steps.end, columns["time"][ends - 1] + 5 * HOUR)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lengths", [[1], [23], [7, 7], [1, 31, 9, 4]])
def test_the_newest_state_alone_is_that_of_the_whole_row(
    name: str, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hstu, "CHUNK_WEIGHTS", 2 * 31 * 31)  # of four rows, two at once
    model, batch = _model(name), _batch(lengths)
    newest = batch.lengths.cumsum(0) - 1
    with torch.no_grad():
        wanted, found = model.states(batch)[newest], model.answer_states(batch, newest)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-6)
    assert wanted.abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_of_all_blocks_but_the_last_every_step_counts(name: str) -> None:
    model = _model(name)
    first, other = _batch([12]), _batch([12])
    other.items[4] = other.items[4] % 40 + 1
    place = torch.tensor([11])
    assert not torch.allclose(model.answer_states(first, place), model.answer_states(other, place))


@pytest.mark.parametrize("name", ["sasrec", "esasrec", "hstu", "lrurec"])
def test_earlier_steps_of_a_row_are_answered_too(name: str) -> None:
    model, batch = _model(name), _batch([9, 3])
    places = torch.tensor([2, 5, 8, 11])
    torch.testing.assert_close(model.answer_states(batch, places), model.states(batch)[places])
