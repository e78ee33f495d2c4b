"""Histories as steps, and the batches that are cut from them: to encode, to train, to fill in, and augmented.

Shapes: B rows, N steps of all rows together, M members of all steps, T targets.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onward.config import RequestTime
from onward.data.arrays import distinct, ranges
from onward.data.augment import AugmentedRows
from onward.data.batch import Batch
from onward.data.dataset import MISSING_TIME
from onward.data.friends import FriendEvents
from onward.data.sequences import Histories, Ints
from onward.data.targets import WEIGHT


class Steps:
    """Histories as steps: the arrays that batches are cut from.

    Args:
        request_time: whether training batches tell when each target came.
        opens: whether the first step of a history is a target too, after nothing.

    Attributes:
        start, end: (B,) int64 first and one-past-last step of each history.
        bounds: (S + 1,) int64 position of each step's first member, or None when steps are positions.
    """

    def __init__(self, histories: Histories, request_time: RequestTime = "none", opens: bool = False) -> None:
        self.histories, self.request_time, self.opens = histories, request_time, opens
        self.bounds: Ints | None = None
        self.weight: NDArray[np.float32] | None = histories.columns.get(WEIGHT)  # type: ignore[assignment]
        self.start, self.end = histories.start, histories.end
        if "group" in histories.columns:
            self.bounds = _group_bounds(histories)
            self.start = np.searchsorted(self.bounds, histories.start)
            self.end = np.searchsorted(self.bounds, histories.end)

    def encode(self, start: Ints, end: Ints, at: Ints | None = None) -> Batch:
        """Windows of steps `start` to `end` (exclusive), without targets; none may be empty.

        `at`: (B,) int64 microseconds UTC, when the answer after each window is wanted. After the steps before it is
        then wanted when the next step comes, as in training.
        """
        return Batch(**self._inputs(start, end, ranges(start, end), at))

    def train(self, first: Ints, last: Ints, prefix: bool = False) -> Batch:
        """Windows of steps `first` to `last`, both included; all but the last are input.

        All but the first are targets, each after the step before it; with `prefix` the last alone.
        """
        at = self.time_of(last) if self.request_time == "target" else None
        following, opens = ranges(first, last) + 1, self._opening(first, last, prefix)
        if prefix:
            return self._batch(first, last, last, np.cumsum(last - first) - 1, at, following, opens)
        return self._batch(first, last, following, None, at, following, opens)

    def cloze(self, first: Ints, last: Ints) -> Batch:
        """Windows of steps `first` to `last`, both included; all are input, and each step's members its targets."""
        steps = ranges(first, last + 1)
        return self._batch(first, last + 1, steps, None, None, steps, self._opening(first, last))

    def rows(self, first: Ints, last: Ints, least: int) -> AugmentedRows:
        """Windows of steps `first` to `last`, both included, to be augmented; steps are events."""
        positions = ranges(first, last + 1)
        items = self.histories.item[positions].astype(np.int64)
        return AugmentedRows(items, items, positions, last + 1 - first, least)

    def augmented(self, rows: AugmentedRows, prefix: bool) -> Batch:
        """The batch of augmented rows: all but the last place of each is input, and what is wanted as in `train`."""
        ends = np.cumsum(rows.lengths)
        is_input, is_target = np.ones(ends[-1], dtype=np.bool_), np.full(ends[-1], not prefix)
        is_input[ends - 1], is_target[rows.begins], is_target[ends - 1] = False, False, True
        times = self.time_of(rows.positions)
        told = self.request_time == "target"
        targets = rows.wanted[is_target]
        return Batch(
            lengths=torch.from_numpy(rows.lengths - 1),
            items=torch.from_numpy(rows.shown[is_input]),
            bags=None,
            values=None,
            times=None if times is None else _tensor(times[is_input], np.int64),
            request_times=None if times is None or not told else _tensor(times[np.flatnonzero(is_input) + 1], np.int64),
            targets=torch.from_numpy(targets),
            target_steps=torch.from_numpy(np.cumsum(rows.lengths - 1) - 1) if prefix else None,
            target_weights=torch.ones(len(targets)),
            target_values=None,
        )

    def time_of(self, steps: Ints) -> Ints | None:
        """(n,) int64 microseconds UTC of some steps, None without times. A step past all there are has the last's."""
        time = self.histories.time
        if time is None:
            return None
        return time[np.minimum(self._first(steps), len(time) - 1)]

    def _batch(
        self,
        start: Ints,
        end: Ints,
        asked: Ints,
        after: Ints | None,
        at: Ints | None,
        following: Ints,
        opens: Ints | None,
    ) -> Batch:
        """The members of the steps `asked` are targets; step i of them comes after input step `after[i]`, or i.

        `following`: (N,) the step that each input step's state is to predict, whether or not it is asked for. `opens`:
        rows whose first step is asked for as well.
        """
        steps = ranges(start, end)
        if opens is not None:
            after = np.arange(len(steps)) if after is None else after
            after = np.concatenate([after, len(steps) + np.arange(len(opens))])
            asked, following = np.concatenate([asked, start[opens]]), np.concatenate([following, start[opens]])
        targets, owners = self._targets(asked)
        sizes = np.bincount(owners, minlength=len(asked))
        every_step = self.bounds is None and self.weight is None and after is None
        value = self.histories.columns.get("value")
        return Batch(
            **self._inputs(start, end, steps, at),
            targets=_tensor(self.histories.item[targets], np.int64),
            target_steps=None if every_step else torch.from_numpy(owners if after is None else after[owners]),
            target_weights=_tensor(self._weights(targets) / sizes[owners], np.float32),
            target_values=None if value is None else _tensor(value[targets], np.float32),
            opens=None if opens is None else torch.from_numpy(opens),
            following={name: self._column(name, self._first(following)) for name in self.histories.known},
            about=self._about(start),
            friends=self._friends(start, end, steps, following, opens),
        )

    def _inputs(self, start: Ints, end: Ints, steps: Ints, at: Ints | None) -> dict[str, Any]:
        """What windows hold, by the fields of `Batch`; `steps` are theirs, one window after the other."""
        items, bags = self._members(steps)
        value, times = self.histories.columns.get("value"), self.time_of(steps)
        return {
            "lengths": torch.from_numpy(end - start),
            "items": _tensor(self.histories.item[items], np.int64),
            "bags": bags,
            "values": None if value is None else self._step_values(items, bags, value),
            "times": None if times is None else _tensor(times, np.int64),
            "request_times": self._request_times(steps, end - start, at),
            "features": {name: self._column(name, items) for name in self.histories.inputs},
        }

    def _first(self, steps: Ints) -> Ints:
        """(n,) int64 position of the first member of some steps."""
        return steps if self.bounds is None else self.bounds[steps]

    def _column(self, name: str, positions: Ints) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.histories.read(name, positions)))

    def _about(self, start: Ints) -> dict[str, Tensor]:
        if not self.histories.about:
            return {}
        owner = self._owner(start)
        return {name: torch.from_numpy(values[owner]) for name, values in self.histories.about.items()}

    def _friends(self, start: Ints, end: Ints, steps: Ints, following: Ints, opens: Ints | None) -> FriendEvents | None:
        """Events of friends before each step's target came or, where that isn't told, before the step itself."""
        histories = self.histories
        if histories.friends is None:
            return None
        owner = self._owner(start)
        owners = np.repeat(owner, end - start)
        told = self.request_time == "target"
        moments = self.time_of(following if told else steps)
        if opens is not None:
            owners = np.concatenate([owners, owner[opens]])
            if moments is not None and not told:  # nothing says when a history that is empty yet is asked
                moments = np.concatenate([moments, np.full(len(opens), MISSING_TIME)])
        return histories.friends.recent(histories.item, histories.time, owners, moments)

    def _opening(self, first: Ints, last: Ints, prefix: bool = False) -> Ints | None:
        """(O,) int64 windows that begin with their history; of rows that are prefixes the shortest of each history."""
        if not self.opens:
            return None
        begins = first == self.start[self._owner(first)]
        return np.flatnonzero(begins & (last == first + 1) if prefix else begins)

    def _owner(self, steps: Ints) -> Ints:
        """(n,) int64 the history that each step lies in."""
        order, start = self._by_start
        owner: Ints = order[np.searchsorted(start, steps, side="right") - 1]
        return owner

    @cached_property
    def _by_start(self) -> tuple[Ints, Ints]:
        """(B,) histories in order of their first steps, an empty one before the one that begins there; these steps."""
        order = np.lexsort((self.end, self.start))
        return order, self.start[order]

    def _members(self, steps: Ints) -> tuple[Ints, Tensor | None]:
        """Positions of all members of some steps, and where each step begins among them."""
        if self.bounds is None:
            return steps, None
        first, last = self.bounds[steps], self.bounds[steps + 1]
        return ranges(first, last), torch.from_numpy(np.cumsum(last - first) - (last - first))

    def _request_times(self, steps: Ints, lengths: Ints, at: Ints | None) -> Tensor | None:
        following = None if at is None else self.time_of(steps + 1)
        if at is None or following is None:
            return None
        following[np.cumsum(lengths) - 1] = at
        return _tensor(following, np.int64)

    def _targets(self, steps: Ints) -> tuple[Ints, Ints]:
        """Position of each target among the members of some steps, and which of these steps it belongs to."""
        owners = np.arange(len(steps), dtype=np.int64)
        if self.bounds is not None:
            first, last = self.bounds[steps], self.bounds[steps + 1]
            steps, owners = ranges(first, last), np.repeat(owners, last - first)
        if self.weight is None:
            return steps, owners
        wanted = self.weight[steps] > 0
        return steps[wanted], owners[wanted]

    def _weights(self, targets: Ints) -> float | NDArray[np.float32]:
        return 1.0 if self.weight is None else self.weight[targets]

    def predicted(self, first: Ints, last: Ints) -> Ints:
        """(W,) int64 how many of the steps `first` to `last`, both included, have a target."""
        if self.weight is None:
            return last + 1 - first
        position = np.flatnonzero(self.weight > 0)
        step = position if self.bounds is None else np.searchsorted(self.bounds, position, side="right") - 1
        step = distinct(step)
        counts: Ints = np.searchsorted(step, last, side="right") - np.searchsorted(step, first)
        return counts

    def _step_values(self, items: Ints, bags: Tensor | None, value: NDArray[np.generic]) -> Tensor:
        flat = value[items].astype(np.float32)
        if bags is None:
            return torch.from_numpy(flat)
        sizes = np.diff(bags.numpy(), append=len(items))
        return _tensor(np.add.reduceat(flat, bags.numpy()) / sizes, np.float32)


def _group_bounds(histories: Histories) -> Ints:
    """Position where each run of one group begins, over the whole columns, and the end."""
    group = histories.groups()
    begins = np.zeros(len(group) + 1, dtype=np.bool_)
    begins[1:-1] = np.diff(group) != 0
    begins[histories.start] = True  # neighbours in the arrays may be different users' groups of one number
    begins[histories.end] = True
    begins[0] = begins[-1] = True
    bounds: Ints = np.flatnonzero(begins)
    return bounds


def _tensor(values: NDArray[np.generic], dtype: type[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=dtype))
