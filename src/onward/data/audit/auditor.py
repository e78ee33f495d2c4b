"""The audit itself: all checks of one data set under one split."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import computed_field

from onward.config import SplitConfig
from onward.data.audit import features, leaks, order, shifts
from onward.data.audit.findings import Case, Finding
from onward.data.catalog import Catalog
from onward.data.dataset import Dataset, Manifest
from onward.data.sequences import Histories, Ints
from onward.data.split import Split, split
from onward.errors import ConfigError
from onward.payload import Payload

TIMED = (order.tied_times, order.tied_targets, order.order_leak, leaks.time_overlap, leaks.duplicates)
ALWAYS = (
    leaks.filters,
    shifts.cold_items,
    shifts.cold_users,
    shifts.repeats,
    shifts.popularity_drift,
    shifts.short_histories,
)
FEATURED = (features.request_features, features.item_features)
WORST_FIRST = ("warning", "note", "ok")


class Audit(Payload):
    """What was found in one data set under one split."""

    format: Literal["onward.audit/1"] = "onward.audit/1"
    """Format and version."""
    dataset: str
    """Content hash of the data set."""
    protocol: SplitConfig
    """The resolved split."""
    counts: dict[str, int]
    """users, items, events, training_events, test_requests, test_events."""
    findings: tuple[Finding, ...]
    """Everything that was checked, worst first."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def warnings(self) -> int:
        """Findings that mislead a reader of the metrics."""
        return self.count("warning")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def notes(self) -> int:
        """Findings that a reader of the metrics should know."""
        return self.count("note")

    def __getitem__(self, code: str) -> Finding:
        return next(finding for finding in self.findings if finding.code == code)

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def audit(dataset: Dataset, config: SplitConfig | None = None) -> Audit:
    """Look for leaks and traps in a data set, as one protocol would use it (`time` by default).

    Raises:
        ConfigError: protocol `all`, which tests nothing; `time` without times; cuts that leave a part empty.
        DataError: no user is long enough to be predicted.
    """
    config = config or SplitConfig()
    if config.protocol == "all":
        raise ConfigError("protocol 'all' has no test part to audit", "use --protocol last, time or users")
    made = split(dataset.histories, config, dataset.manifest.actions)
    return audit_split(dataset.histories, made, dataset.manifest, id_ranks(dataset.catalog))


def audit_split(data: Histories, made: Split, manifest: Manifest, id_rank: Ints | None = None) -> Audit:
    """The audit of histories that are divided already.

    Args:
        id_rank: (n_items + 1,) int64 place of every item by id; the item index itself by default.
    """
    case = Case(data, made, manifest, np.arange(data.n_items + 1) if id_rank is None else id_rank)
    featured = FEATURED if manifest.event_features or manifest.known_at_request else ()
    checks = (order.unsorted_input, *(TIMED if data.time is not None else ()), *ALWAYS, *featured)
    findings = [check(case) for check in checks]
    counts = {
        "users": len(data),
        "items": data.n_items,
        "events": data.n_events,
        "training_events": case.training.n_events,
        "test_requests": len(made.test),
        "test_events": len(case.test_events[0]),
    }
    ordered = sorted(findings, key=lambda finding: WORST_FIRST.index(finding.severity))
    return Audit(dataset=manifest.hash, protocol=made.config, counts=counts, findings=tuple(ordered))


def id_ranks(catalog: Catalog) -> Ints:
    """(len + 1,) int64: place of every item by id, as numbers where all ids are whole numbers, else in byte order."""
    ids = catalog.frame.select(pl.col("item"), size=pl.col("item").str.len_bytes())
    numeric = ids["item"].str.contains(r"^\d+$").all()
    in_order = ids.select(pl.arg_sort_by("size", "item") if numeric else pl.arg_sort_by("item")).to_series()
    rank = np.zeros(len(catalog) + 1, dtype=np.int64)
    rank[in_order.to_numpy() + 1] = np.arange(1, len(catalog) + 1)
    return rank
