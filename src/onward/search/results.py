"""What a search comes to: what `onward auto --json` and `onward tune --json` print, and `result.json` holds."""

from __future__ import annotations

from typing import Any, Literal

from onward.config import SplitConfig
from onward.evaluate.results import Estimate
from onward.payload import Payload
from onward.search.facts import Facts


class FamilyResult(Payload):
    """The trials of one model."""

    model: str
    """Its name."""
    reason: str
    """Why it was tried."""
    trials: int
    """Trials begun."""
    complete: int
    """Trials that went to their end."""
    pruned: int
    """Trials that were ended early, as others did better."""
    failed: int
    """Trials that failed."""
    stopped: int
    """Trials that Ctrl-C or the end of the budget came upon before they had a result."""
    seconds: float
    """Time that they took together."""
    validation: float | None
    """Best value of the metric on the validation part; null without a complete trial."""
    settings: dict[str, Any]
    """The settings that gave it, those that were searched or found from the data."""
    importance: dict[str, float]
    """Share of each searched setting in what makes a trial good, 1 together; empty where too few trials say."""
    run: str | None
    """Run folder of its best trial."""


class TableRow(Payload):
    """One model on the test part."""

    model: str
    """Its name."""
    metrics: dict[str, Estimate]
    """Means over requests with 95% intervals that resample users."""
    difference: Estimate | None
    """Of the metric that chose the best, this model less the best one; null for the best itself."""
    p_holm: float | None
    """Of the paired test of that difference, adjusted for the number of models."""


class FailedTrial(Payload):
    """A trial that gave nothing."""

    model: str
    """Its model."""
    number: int
    """Its number among that model's trials, from 0."""
    error: str
    """What went wrong."""


class SearchResult(Payload):
    """A finished search."""

    format: Literal["onward.search/1"] = "onward.search/1"
    """Format and version."""
    folder: str
    """Folder of the search."""
    dataset: str
    """The dataset folder."""
    protocol: SplitConfig
    """How events were divided."""
    seed: int
    """Of the search and of every training."""
    metric: str
    """Metric of the validation part that was searched for."""
    budget_seconds: float
    """Time that this session was given."""
    seconds: float
    """Time that it took."""
    facts: Facts
    """What the data is like."""
    families: list[FamilyResult]
    """The models, best on validation first."""
    best: str
    """Model that validates best."""
    bundle: str
    """Its bundle, for `onward recommend`, `onward serve`..."""
    command: str
    """What trains it again, to the same bits."""
    test: list[TableRow]
    """The best trial of each model on the test part, the best on validation first."""
    tested_before: int
    """Runs of this search whose test was looked at by an earlier session."""
    failures: list[FailedTrial]
    """Trials that failed."""
