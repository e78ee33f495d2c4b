"""What a dataset is like, as far as it decides which models to try and where to start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onward.data.dataset import Dataset
from onward.data.split import Split
from onward.payload import Payload

DAY = 86_400_000_000


class Facts(Payload):
    """Figures of the training part, where nothing else is said."""

    users: int
    """Users with a training event."""
    items: int
    """Items of the catalog."""
    events: int
    """Training events."""
    median_length: float
    """Median number of training events of a user who has any."""
    long_length: float
    """The number that 95% of these users don't exceed."""
    longest: int
    """The most training events of a user."""
    span_days: float | None
    """Days from the first event of the dataset to its last; None without times."""
    tie_share: float | None
    """Share of all events that have the time of another event of their user; None without times."""
    repeat_share: float
    """Share of the training events whose user had that item before (as preparation counted)."""
    seen: str
    """Whether items of the history may be recommended again: `include` or `exclude`."""
    grouped: bool
    """Whether events come in groups (baskets)."""
    valid_requests: int
    """Requests of the validation part."""
    test_requests: int
    """Requests of the test part."""
    features: dict[str, list[str]]
    """Columns beside the roles, by owner: `events`, `items`, `users`."""

    @property
    def sentences(self) -> list[str]:
        """For people, the largest first."""
        timed = "without times" if self.span_days is None else f"over {self.span_days:,.0f} days"
        tied = "" if self.tie_share is None else f"; {self.tie_share:.0%} of the events share their time with another"
        found = {owner: len(names) for owner, names in self.features.items() if names}
        known = ", ".join(f"{count} of {owner}" for owner, count in found.items()) or "none"
        return [
            f"{self.events:,} training events of {self.users:,} users and {self.items:,} items, {timed}",
            f"histories: half have at most {self.median_length:,.0f} events, 95% at most {self.long_length:,.0f}",
            f"{self.repeat_share:.1%} of the events are repeats, so that seen items are {self.seen}d{tied}",
            f"to predict: {self.valid_requests:,} requests validate, {self.test_requests:,} test",
            f"features: {known}{'; events come in groups' if self.grouped else ''}",
        ]


def find_facts(data: Dataset, divided: Split) -> Facts:
    """Look at the training part of a divided dataset."""
    manifest = data.manifest
    lengths = divided.training(data.histories).lengths
    lengths = lengths[lengths > 0]
    low, high = manifest.time_min, manifest.time_max
    features: Mapping[str, Mapping[str, str]] = {
        "events": manifest.event_features,
        "items": manifest.item_features,
        "users": manifest.user_features,
    }
    return Facts(
        users=len(lengths),
        items=manifest.items,
        events=int(lengths.sum()),
        median_length=float(np.median(lengths)) if len(lengths) else 0.0,
        long_length=float(np.quantile(lengths, 0.95)) if len(lengths) else 0.0,
        longest=int(lengths.max(initial=0)),
        span_days=None if low is None or high is None else (high - low) / DAY,
        tie_share=manifest.tie_share,
        repeat_share=manifest.repeat_share,
        seen=manifest.seen,
        grouped="group" in manifest.columns,
        valid_requests=len(divided.valid),
        test_requests=len(divided.test),
        features={owner: list(names) for owner, names in features.items()},
    )
