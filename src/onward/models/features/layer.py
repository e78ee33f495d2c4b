"""The features of one model: those of items, of past events, and of who asks and when.

Legend: B rows, N steps, M members of all steps, S states, V items, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.dataset import MISSING_TIME
from onward.models.features.column import Expanded
from onward.models.features.columns import Column, LinksColumn
from onward.models.features.friends import FriendAttention
from onward.models.features.fusion import FeatureBlock, Inputs
from onward.models.features.time_column import TimeColumn


class FeatureLayer(nn.Module):
    """What a sequence model reads beside item ids.

    Args:
        columns: fitted; of any owners.
        width: D.
        id_dropout: share of the items whose id counts as unknown in a training step.
        feature_dropout: share of (thing, column) pairs that are left out in training.

    Attributes:
        items: on an item's id vector; None without columns of items.
        events: on the vector of an event's item; None without columns of events.
        request: on the state that a list is asked from: what is known of the user, and of the event to come.
        friends: on that state too: what friends did lately; None without links.
        start: (D,) the state of an empty history.
    """

    items: FeatureBlock | None
    events: FeatureBlock | None
    request: FeatureBlock | None
    friends: FriendAttention | None

    def __init__(self, columns: Sequence[Column], width: int, id_dropout: float, feature_dropout: float) -> None:
        super().__init__()
        self.columns, self.id_dropout = list(columns), id_dropout

        def block(chosen: list[Column]) -> FeatureBlock | None:
            return FeatureBlock(chosen, width, feature_dropout) if chosen else None

        self.items = block([column for column in columns if column.owner == "items"])
        self.events = block([column for column in columns if column.owner == "events"])
        self.links: LinksColumn | None = next((column for column in columns if isinstance(column, LinksColumn)), None)
        asked = [column for column in columns if column.owner == "users" or column.known_at_request]
        self.request = block([column for column in asked if column is not self.links])
        self.friends = None if self.links is None else FriendAttention(width, feature_dropout)
        self.start = nn.Parameter(torch.zeros(width)) if self.asks else None
        self.item_inputs: Inputs | None = None

    @property
    def asks(self) -> bool:
        """Whether states are asked with what is known of the user, friends included, or of the event to come."""
        return self.request is not None or self.friends is not None

    # items

    def read_items(self, frame: pl.DataFrame) -> Inputs:
        """(n, ...) inputs of the items of a table; a column that it lacks is missing everywhere."""
        assert self.items is not None
        reads = [
            torch.from_numpy(column.read(frame[column.name]))
            if column.name in frame.columns
            else column.missing(frame.height)
            for column in self.items.columns
        ]
        expanded = [column.expand(read) for column, read in zip(self.items.columns, reads, strict=True)]
        return self.items.inputs(expanded, frame.height)

    def inputs_on(self, device: torch.device) -> Inputs:
        """The catalog's inputs on a device."""
        assert self.item_inputs is not None, "the layer holds no items"
        if self.item_inputs.codes.device != device:
            self.item_inputs = Inputs(*(part.to(device) for part in self.item_inputs))
        return self.item_inputs

    def hold_items(self, frame: pl.DataFrame) -> None:
        """Keep the inputs of the catalog, row r being item index r + 1, for training and for the tower's table."""
        if self.items is not None:
            inputs = self.read_items(frame)
            self.item_inputs = Inputs(*(F.pad(part, (0, 0, 1, 0)) for part in inputs))

    def unknown_values(self, frame: pl.DataFrame) -> dict[str, int]:
        """Column of items -> values that training didn't have, or that can't be read; columns without such are left
        out."""
        found = {
            column.name: column.unknown(frame[column.name])
            for column in ([] if self.items is None else self.items.columns)
            if column.name in frame.columns
        }
        return {name: count for name, count in found.items() if count}

    # events

    def add_events(self, vectors_MD: Tensor, batch: Batch) -> Tensor:
        """(M, D) the vectors of the members' items with what is known of the events."""
        if self.events is None:
            return vectors_MD
        size = len(vectors_MD)
        expanded: list[Expanded] = []
        for column in self.events.columns:
            if isinstance(column, TimeColumn) and column.elapsed:
                expanded.append((_times_of(column, batch, size), None))
            else:
                read = batch.features[column.key] if column.key in batch.features else column.missing(size)
                expanded.append(column.expand(read.to(vectors_MD.device)))
        fused: Tensor = self.events(vectors_MD, self.events.inputs(expanded, size))
        return fused

    # who asks, and when

    def ask(self, states_SD: Tensor, known: Mapping[str, Tensor], before_S: Tensor) -> Tensor:
        """(S, D) states with what is known when a list is asked for.

        Args:
            known: column -> (S, ...) what was read; a column that isn't there is missing.
            before_S: (S,) int64 microseconds UTC of the newest event, MISSING_TIME without one.
        """
        if self.request is None:
            return states_SD
        size = len(states_SD)
        expanded: list[Expanded] = []
        for column in self.request.columns:
            read = (known[column.key] if column.key in known else column.missing(size)).to(states_SD.device)
            if isinstance(column, TimeColumn) and column.elapsed:
                expanded.append((column.with_elapsed(read, before_S), None))
            else:
                expanded.append(column.expand(read))
        fused: Tensor = self.request(states_SD, self.request.inputs(expanded, size))
        return fused

    def start_states(self, size: int) -> Tensor:
        """(n, D) states of empty histories."""
        assert self.start is not None
        return self.start.expand(size, -1)


def times_before(batch: Batch) -> Tensor:
    """(N,) int64 time of the step before each, MISSING_TIME for the first of a row."""
    assert batch.times is not None
    before = torch.roll(batch.times, 1)
    before[batch.lengths.cumsum(0) - batch.lengths] = MISSING_TIME
    return before


def _times_of(column: TimeColumn, batch: Batch, size: int) -> Tensor:
    """(M, P) int64 codes of the members' times."""
    if batch.times is None:
        missing = torch.full((size,), MISSING_TIME, device=batch.items.device)
        return column.with_elapsed(missing, missing)
    codes = column.with_elapsed(batch.times, times_before(batch))
    if batch.bags is None:
        return codes
    sizes = torch.diff(batch.bags, append=batch.bags.new_tensor([size]))
    return codes.repeat_interleave(sizes, 0)
