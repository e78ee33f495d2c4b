"""A batch: named columns over the real positions of some histories, padded nowhere.

A *step* is what a sequence model reads at once: one event, or one group of events (a basket) where the data
declares groups; members of a group are one step, so none is input for another.

Shapes: B rows, N steps of all rows together, M members of all steps, T targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from onward.data.friends import FriendEvents

_NO_ITEMS, _NO_WEIGHTS = torch.zeros(0, dtype=torch.int64), torch.zeros(0)


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of B rows, flat.

    Attributes:
        lengths: (B,) int64 steps of each row.
        items: (M,) int64 input items, step by step.
        bags: (N,) int64 first member of each step in `items`, or None when every step is one event.
        values: (N,) float32 value of each step (mean of its members; NaN where missing), or None.
        times: (N,) int64 microseconds UTC of each step (the earliest of its members), or None.
        request_times: (N,) int64 microseconds UTC, when an answer is wanted after each step; None where it isn't told.
        targets: (T,) int64 items to predict; empty when the batch is only encoded.
        target_steps: (T,) int64 the step (of N) after which each target comes; None when each step has one, its own.
        target_weights: (T,) float32; the targets of one step sum to 1, but for what their actions weigh.
        target_values: (T,) float32 values of the targets (NaN where missing), or None.
        view: the same rows augmented, to be contrasted with this batch; None when they aren't.
        features: column -> (M, ...) what is read of each member beside its item (`Histories.inputs`).
        opens: (O,) int64 rows whose first step is a target too, after nothing: `target_steps` N + o is the o-th of
            them. None where no row's is.
        following: column -> (N + O, ...) what was known of the event that followed when it was asked for
            (`Histories.known`), after each step and at the start of the rows that `opens` names.
        about: column -> (B, ...) what is known of each row as a whole (`Histories.about`).
        friends: recent events of friends as each step's target was asked for, then as the starts of `opens` were: N + O
            moments. None where no links are read.
        counted: steps of the longest row, counted before the batch went to a device; None on the processor.
    """

    lengths: Tensor
    items: Tensor
    bags: Tensor | None
    values: Tensor | None
    times: Tensor | None
    request_times: Tensor | None
    targets: Tensor = _NO_ITEMS
    target_steps: Tensor | None = None
    target_weights: Tensor = _NO_WEIGHTS
    target_values: Tensor | None = None
    view: Batch | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    opens: Tensor | None = None
    following: Mapping[str, Tensor] = field(default_factory=dict)
    about: Mapping[str, Tensor] = field(default_factory=dict)
    friends: FriendEvents | None = None
    counted: int | None = None

    @property
    def n_steps(self) -> int:
        """N; unlike a sum of the lengths, it is known without waiting for a device."""
        return len(self.items if self.bags is None else self.bags)

    @property
    def longest(self) -> int:
        """Steps of the longest row."""
        if self.counted is not None:
            return self.counted
        return int(self.lengths if len(self.lengths) == 1 else self.lengths.max())

    @property
    def row_of_step(self) -> Tensor:
        """(N,) int64 the row that each step is of."""
        rows = torch.arange(len(self.lengths), device=self.lengths.device)
        return rows.repeat_interleave(self.lengths, output_size=self.n_steps)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if self.items.device == device:
            return self
        moved: dict[str, Any] = {
            name: {key: one.to(device) for key, one in column.items()}
            if isinstance(column, dict)
            else column.to(device)
            for name, column in vars(self).items()
            if column is not None and name != "counted"
        }
        return replace(self, **moved, counted=self.longest)

    def asked(self) -> tuple[Tensor | None, Tensor | None]:
        """(S,) int64 the distinct steps that targets follow, None for every step; and (T,) int64 which of them each
        target follows, None where each follows one of its own."""
        if self.target_steps is None:
            return None, None
        steps, owners = torch.unique_consecutive(self.target_steps, return_inverse=True)
        return steps, None if len(steps) == len(owners) else owners

    def after_events(self, asked: Tensor) -> Tensor:
        """Those of the steps that `asked` gives which are steps: not the starts of histories, which come last."""
        return asked if self.opens is None else asked[asked < self.n_steps]

    def targets_at(self, chosen_N: Tensor) -> Batch:
        """The same inputs with the targets of some steps only, and of starts; `chosen_N` is (N,) bool."""
        if self.opens is not None:
            chosen_N = torch.cat([chosen_N, torch.ones_like(self.opens, dtype=torch.bool)])
        every = torch.arange(len(chosen_N), device=chosen_N.device)
        steps = every if self.target_steps is None else self.target_steps
        kept = chosen_N[steps]
        return replace(
            self,
            targets=self.targets[kept],
            target_steps=steps[kept],
            target_weights=self.target_weights[kept],
            target_values=None if self.target_values is None else self.target_values[kept],
        )
