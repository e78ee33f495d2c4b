"""Habits: what a history says about each item in it. How often it came, how lately, how regularly.

The record of an item is what tells repeat purchases: its frequency in all of the history and in its newest part (Hu et
al., SIGIR 2020, arXiv:2006.00556, as groups of decaying weights), and the time between its occurrences beside the time
since the last (Ariannezhad et al., "ReCANet", SIGIR 2022, doi:10.1145/3477495.3531708).

Legend: B rows, N steps, M members of all steps, P members of the longest row, S steps asked, U distinct items of the
rows, I those of the row that has most, n pairs of a step asked and an item that came before it, F numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onward.data.batch import Batch

HALF_LIVES_STEPS = (2.0, 8.0, 32.0)
HALF_LIVES_DAYS = (7.0, 28.0, 112.0)
"""After so many steps, and days, an occurrence counts half in the numbers that decay."""
NUMBERS = 6 + len(HALF_LIVES_STEPS) + len(HALF_LIVES_DAYS)
"""F."""
MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Habits:
    """The items of a batch's rows, and what the steps asked know of them.

    Attributes:
        row: (S,) int64 the row of each step asked.
        key: (U,) int64, ascending: row * `width` + item of each distinct item of a row.
        slot: (U,) int64 its number within its row.
        asked, item: (n,) int64 the step asked (of S) and the item (of U) of each pair; by step, then by item.
        count: (n,) float, occurrences up to the step.
        numbers: (n, F) float, logarithms of 1 plus: occurrences; those that decay by steps, and by days; steps and days
            since the newest; mean days between two; days since the first; steps of the history. Days are up to when the
            answer is wanted, where that is told, and 0 without times.
        sizes: (S, 2) float, logarithms of 1 plus: items, and events, up to the step.
    """

    row: Tensor
    key: Tensor
    width: int
    slot: Tensor
    asked: Tensor
    item: Tensor
    count: Tensor
    numbers: Tensor
    sizes: Tensor

    @property
    def items(self) -> Tensor:
        """(U,) int64 items."""
        return self.key % self.width

    @property
    def most(self) -> int:
        """I."""
        return int(self.slot.max()) + 1

    def find(self, steps: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """(m,) int64 slots of items within the rows of steps asked, (m,) of S, and (m,) bool whether they are there."""
        wanted = self.row[steps] * self.width + items
        place = torch.searchsorted(self.key, wanted).clamp(max=len(self.key) - 1)
        return self.slot[place], (self.key[place] == wanted) & (items < self.width)

    @classmethod
    def of(cls, batch: Batch, steps_S: Tensor, dtype: torch.dtype) -> Habits:
        """What the steps `steps_S` of a batch, (S,) int64 ascending, know of the items of their rows; no gradient."""
        step_M, row_M, place_M = _members(batch)
        width = int(batch.items.max()) + 1
        key, which_M = (row_M * width + batch.items).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        rows, longest = len(batch.lengths), int(place_M.max()) + 1
        row_U = key // width
        slot_U = torch.arange(len(key), device=key.device) - torch.searchsorted(row_U, row_U)
        row_S = batch.row_of_step[steps_S]
        at_M = row_M * longest + place_M

        def padded(values_M: Tensor, padding: int) -> Tensor:
            """(S, P) the members' values of each asked step's row."""
            flat = values_M.new_full((rows * longest,), padding)
            return flat.index_copy(0, at_M, values_M).view(rows, longest)[row_S]

        # padding is younger than anything asked for, so it never counts
        age_SP = steps_S[:, None] - padded(step_M, batch.n_steps)
        slot_SP, there_SP = padded(slot_U[which_M], 0), age_SP >= 0
        age_SP = age_SP.clamp(min=0).to(dtype)
        days_SP = _days(batch, steps_S, step_M, padded, dtype) if batch.times is not None else torch.zeros_like(age_SP)
        size = (len(steps_S), int(slot_U.max()) + 1)
        place_SP = slot_SP + size[1] * torch.arange(size[0], device=slot_SP.device)[:, None]

        def least(values_SP: Tensor) -> Tensor:
            largest = torch.finfo(dtype).max
            values_SP = values_SP.masked_fill(~there_SP, largest)
            return values_SP.new_full(size, largest).scatter_reduce(1, slot_SP, values_SP, "amin")

        weights = [torch.ones_like(age_SP)]
        weights += [torch.exp2(-age_SP / half) for half in HALF_LIVES_STEPS]
        weights += [torch.exp2(-days_SP / half) for half in HALF_LIVES_DAYS]
        weights_SPK = torch.stack(weights, 2) * there_SP[:, :, None]
        empty = weights_SPK.new_zeros(size[0] * size[1], len(weights))
        sums = empty.index_add(0, place_SP.flatten(), weights_SPK.flatten(0, 1))
        pairs = (sums[:, 0] > 0).nonzero().squeeze(1)
        sums, asked, slot = sums[pairs], pairs // size[1], pairs % size[1]

        def picked(values_SI: Tensor) -> Tensor:
            return values_SI.flatten()[pairs]

        count, newest, oldest = sums[:, 0], picked(least(days_SP)), -picked(least(-days_SP))
        begin_B = batch.lengths.cumsum(0) - batch.lengths
        numbers = [
            *sums.unbind(1),
            picked(least(age_SP)),
            newest,
            (oldest - newest) / (count - 1).clamp(min=1),
            oldest,
            (steps_S - begin_B[row_S]).to(dtype)[asked],
        ]
        events = there_SP.sum(1).to(dtype)
        return cls(
            row=row_S,
            key=key,
            width=width,
            slot=slot_U,
            asked=asked,
            item=torch.searchsorted(row_U, row_S)[asked] + slot,
            count=count,
            numbers=torch.stack(numbers, 1).log1p(),
            sizes=torch.stack([torch.bincount(asked, minlength=len(steps_S)).to(dtype), events], 1).log1p(),
        )


def _members(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """(M,) int64 each member's step, of N, its row, and its number within the row."""
    steps = torch.arange(batch.n_steps, device=batch.items.device)
    first = steps if batch.bags is None else batch.bags
    step = (
        steps
        if batch.bags is None
        else steps.repeat_interleave(first.diff(append=first.new_tensor([len(batch.items)])))
    )
    row = batch.row_of_step[step]
    begin = first[batch.lengths.cumsum(0) - batch.lengths]
    return step, row, torch.arange(len(step), device=step.device) - begin[row]


def _days(
    batch: Batch, steps_S: Tensor, step_M: Tensor, padded: Callable[[Tensor, int], Tensor], dtype: torch.dtype
) -> Tensor:
    """(S, P) days from each member to when the answer after each step asked is wanted."""
    assert batch.times is not None
    wanted = batch.times if batch.request_times is None else batch.request_times
    passed = wanted[steps_S][:, None] - padded(batch.times[step_M], 0)
    return (passed.to(torch.float64) / MICROSECONDS_A_DAY).clamp(min=0).to(dtype)
