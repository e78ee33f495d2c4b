"""Rows: padding and back, against the plain way, gradients too; and what a batch knows before it goes to a device."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from onward.data.batch import Batch
from onward.models.losses import rows_added
from onward.models.rows import Rows

LENGTHS = ([3, 1, 4, 1, 5], [2, 2, 2], [7])


def _batch(lengths: list[int], bags: bool = False) -> Batch:
    steps = sum(lengths)
    first = torch.arange(steps) * 2 if bags else None
    items = torch.arange(1, (2 if bags else 1) * steps + 1)
    return Batch(torch.tensor(lengths), items, first, None, None, None)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_padded_and_flat_as_the_plain_way_gradients_too(lengths: list[int], more: int) -> None:
    torch.manual_seed(0)
    rows, sizes = Rows(_batch(lengths), more), [length + more for length in lengths]
    flat = torch.randn(sum(sizes), 3, dtype=torch.float64, requires_grad=True)
    padded, plain = rows.padded(flat), pad_sequence(flat.split(sizes), batch_first=True)
    assert torch.equal(padded, plain)
    weights = torch.randn_like(plain)
    ours = torch.autograd.grad((padded * weights).sum(), flat)[0]
    assert torch.equal(ours, torch.autograd.grad((plain * weights).sum(), flat)[0])

    values = torch.randn_like(plain).requires_grad_()
    picked, wanted = rows.flat(values), torch.cat([row[:size] for row, size in zip(values, sizes, strict=True)])
    assert torch.equal(picked, wanted)
    weights = torch.randn_like(wanted)
    ours = torch.autograd.grad((picked * weights).sum(), values)[0]
    assert torch.equal(ours, torch.autograd.grad((wanted * weights).sum(), values)[0])


def test_padding_is_zero_after_values_that_are_missing() -> None:
    padded = Rows(_batch([1, 3])).padded(torch.tensor([torch.nan, 1.0, 2.0, torch.nan]))
    assert padded[0, 1:].tolist() == [0.0, 0.0]
    assert padded.isnan().tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.parametrize("bags", [False, True])
def test_a_batch_knows_its_sizes_on_a_device_that_would_have_to_be_asked(bags: bool) -> None:
    batch = _batch([3, 1, 4], bags)
    assert (batch.n_steps, batch.longest, batch.row_of_step.tolist()) == (8, 4, [0, 0, 0, 1, 2, 2, 2, 2])
    there = batch.to(torch.device("meta"))  # where no value can be read at all
    assert (there.n_steps, there.longest, there.row_of_step.shape) == (8, 4, (8,))
    rows = Rows(there, more=1)
    assert (rows.longest, rows.full) == (5, False)
    assert rows.padded(torch.zeros(11, 2, device="meta")).shape == (3, 5, 2)


def test_rows_are_added_as_by_index_add() -> None:
    torch.manual_seed(0)
    values, rows = torch.randn(40, 3), torch.randint(5, (40,))
    torch.testing.assert_close(rows_added(values, rows, 6), torch.zeros(6, 3).index_add(0, rows, values))
