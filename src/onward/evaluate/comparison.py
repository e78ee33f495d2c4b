"""The result of a comparison: a row each model, and the tests between them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import PrivateAttr

from onward.evaluate.results import Estimate, Evaluation
from onward.payload import Payload
from onward.training_rows import TrainingRows

FORMAT: Literal["onward.comparison/1"] = "onward.comparison/1"


class SeedResult(Payload):
    """One training of a model that was trained with several seeds."""

    path: str
    """The run."""
    seed: int
    """Its seed."""
    metrics: dict[str, float]
    """Means over requests."""


class Row(Payload):
    """One model of a comparison."""

    label: str
    """What it is called in this comparison."""
    path: str
    """The run, the bundle or the folder of runs with several seeds, as given."""
    seeds: list[SeedResult] = []
    """Its trainings, where there are several; all else is then their mean, with intervals over users and seeds."""
    training: dict[str, Any]
    """Facts of its training from the manifest: `seconds`, `parameters`, `best_epoch`..."""
    training_rows: TrainingRows | None = None
    """How the rows that it trained on were made; None for a model that is fitted in one call."""
    events_per_second: float | None
    """Median training speed; None for a model that is fitted in one call."""
    evaluation: Evaluation
    """Its result."""
    _results: list[Evaluation] = PrivateAttr(default_factory=list)

    @property
    def run(self) -> str:
        """The run or bundle itself; of several seeds the first."""
        return self.seeds[0].path if self.seeds else self.path

    @property
    def results(self) -> list[Evaluation]:
        """The result of every training."""
        return self._results or [self.evaluation]


class Difference(Payload):
    """A paired test of one metric between a model and the baseline, on the same users."""

    metric: str
    """Name of the metric."""
    label: str
    """The model."""
    baseline: str
    """What it is compared with."""
    difference: Estimate
    """Of the means over requests, model less baseline, with its 95% interval."""
    p_value: float
    """Two-sided: of the paired bootstrap over users, or of a t-test over users and seeds where a model has several."""
    p_holm: float
    """The same, adjusted (Holm) for the number of models tested on this metric."""
    detectable: float | None = None
    """The smallest true difference that this comparison finds with 80% power at 5% over the models tested on this
    metric; None for one user."""


class Comparison(Payload):
    """Models measured under one protocol."""

    format: Literal["onward.comparison/1"] = FORMAT
    """Format and version."""
    part: Literal["valid", "test"]
    """Which part was predicted."""
    protocol: dict[str, Any]
    """The protocol they share."""
    metric: str
    """The metric that orders the rows and picks the best."""
    baseline: str
    """Label of the row that the tests compare with: the one named, else the best."""
    rows: list[Row]
    """The models, best first."""
    tests: list[Difference]
    """Every ranking metric of every other row against the baseline."""
    audit: dict[str, Any] | None = None
    """The audit of the data set for this split, where it was made."""
    report: str | None = None
    """Where the HTML report was written."""
    _curves: dict[str, list[dict[str, Any]]] = PrivateAttr(default_factory=dict)

    @property
    def curves(self) -> dict[str, list[dict[str, Any]]]:
        """Label -> the lines of the run's metrics.jsonl, of several seeds the first's; empty for a bundle."""
        return self._curves

    @property
    def by_training_rows(self) -> dict[str, list[str]]:
        """How training rows were made, in one line -> labels of the models that trained on such."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.training_rows is not None:
                found.setdefault(row.training_rows.text, []).append(row.label)
        return found

    @property
    def method(self) -> str:
        """How the rows were tested against the baseline."""
        several = {row.label for row in self.rows if row.seeds}
        others = {row.label for row in self.rows} - {self.baseline}
        if self.baseline in several or (others and others <= several):
            return "t-test over users and seeds"
        if several:
            return "t-test over users and seeds where a model has several, else paired bootstrap over users"
        return "paired bootstrap over users"

    @property
    def one_seed(self) -> list[str]:
        """Labels of models that have seeds and were trained with one: nothing is known of their other trainings."""
        return [row.label for row in self.rows if not row.seeds and row.training_rows is not None]

    def test(self, label: str, metric: str) -> Difference | None:
        """The test of a row's metric against the baseline; None for the baseline itself."""
        return next((test for test in self.tests if (test.label, test.metric) == (label, metric)), None)
