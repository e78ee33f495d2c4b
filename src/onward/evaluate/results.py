"""The result of an evaluation, and its folder.

::

    run/evaluation/test/
      metrics.json       the numbers, with the protocol that they were measured under
      requests.parquet   one row a request: user, history length, targets and their ranks, every metric
      pairs.parquet      of a model of interest: user, item, predicted and observed interest
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import PrivateAttr, ValidationError

from onward.data.dataset import check_format
from onward.errors import FormatError
from onward.files import atomic_folder
from onward.payload import Payload
from onward.training_rows import TrainingRows

FORMAT: Literal["onward.evaluation/1"] = "onward.evaluation/1"
PAIRS = "pairs.parquet"


class Estimate(Payload):
    """A mean with its 95% interval."""

    value: float
    """The mean."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


class SliceRow(Payload):
    """One bucket of requests."""

    label: str
    """Which requests."""
    requests: int
    """Their number."""
    users: int
    """Users among them."""
    metrics: dict[str, Estimate]
    """Means over these requests."""


class CalibrationBin(Payload):
    """Pairs of like predicted interest."""

    predicted: float
    """Mean predicted interest."""
    observed: float
    """Mean observed interest."""
    pairs: int
    """Their number."""


class Detectable(Payload):
    """What a comparison of this model with another, on the same requests, will be able to find."""

    metric: str
    """Name of the metric."""
    correlation: float
    """Of the two models' answers over users, supposed: 0.5 as of unlike models, 0.8 as of variants of one."""
    difference: float
    """Smallest true difference that is found with 80% power at 5%."""
    share: float | None
    """The same as a share of this model's value; None where that is zero."""


class Evaluation(Payload):
    """How one model does on one part of one data set, and under which protocol."""

    format: Literal["onward.evaluation/1"] = FORMAT
    """Format and version."""
    model: str
    """Name of the model."""
    weights: str
    """SHA-256 of the model's weights file."""
    part: Literal["valid", "test"]
    """Which part was predicted."""
    protocol: dict[str, Any]
    """Everything that decides what the numbers mean; two evaluations compare only when these are equal."""
    training_rows: TrainingRows | None = None
    """How the rows that the model trained on were made; None for a model that is fitted in one call."""
    users: int
    """Users with a request."""
    requests: int
    """Requests: one event, or one group, to predict each."""
    metrics: dict[str, Estimate]
    """Means over requests; intervals resample users."""
    user_metrics: dict[str, Estimate]
    """The same, averaged within each user first."""
    lists: dict[str, float]
    """Properties of the recommended lists: coverage, Gini, novelty, popularity lift, diversity."""
    diversity_feature: str | None = None
    """Item column whose values diversity compares; None when the catalog has none that fits."""
    counts: dict[str, int]
    """What must be known beside the means: cold and seen targets, empty histories, too short users..."""
    among_cold: dict[str, Estimate] | None = None
    """With `cold = "items"`: the metrics where the cold items alone are candidates; `metrics` then has all items."""
    slices: dict[str, list[SliceRow]]
    """`history_length`, `target_popularity` and, of data with actions, `target_action`: the main metrics by bucket."""
    decision: float | None = None
    """Predicted interest from which on an item was taken for liked; None for a model that only ranks."""
    value_range: tuple[float, float] | None = None
    """The values that interest 0 and 1 stand for; None where none were learned."""
    calibration: list[CalibrationBin] = []
    """Predicted against observed interest, in bins of equal size; empty for a model that only ranks."""
    detectable: list[Detectable] = []
    """The smallest difference that a comparison can find on this data; empty of one user, and of a mean over seeds."""
    report: str | None = None
    """Where the HTML report was written."""
    _table: pl.DataFrame = PrivateAttr(default_factory=pl.DataFrame)
    _pairs: pl.DataFrame = PrivateAttr(default_factory=pl.DataFrame)

    @property
    def table(self) -> pl.DataFrame:
        """One row a request: `user`, `history_length`, `target_popularity`, `targets`, `above`, `tied`, metrics.

        `user` is the id; `targets` (ids), `above` and `tied` are lists with one entry a target (`Ranks`);
        `target_popularity` is the targets' mean number of training events.
        """
        return self._table

    @property
    def pairs(self) -> pl.DataFrame:
        """One row a predicted interest: `user` and `item` ids, `predicted`, `observed`; empty for a mere ranking."""
        return self._pairs

    def with_table(self, table: pl.DataFrame, pairs: pl.DataFrame | None = None) -> Evaluation:
        """The same result with this table of requests, and of predicted interests."""
        copy = self.model_copy()
        copy._table = table
        copy._pairs = pl.DataFrame() if pairs is None else pairs
        return copy

    def __eq__(self, other: object) -> bool:
        # the numbers decide: they come from the table, which may be absent, and which == would compare cell by cell
        return isinstance(other, Evaluation) and self.as_dict() == other.as_dict()


def write_evaluation(folder: Path, evaluation: Evaluation) -> Path:
    """Write the evaluation's folder, replacing an earlier one. Raises OutputError when it can't be written."""
    with atomic_folder(folder, overwrite=True) as new:
        (new / "metrics.json").write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n", encoding="utf-8")
        evaluation.table.write_parquet(new / "requests.parquet")
        if evaluation.pairs.height:
            evaluation.pairs.write_parquet(new / PAIRS)
    return folder


def read_evaluation(folder: Path) -> Evaluation:
    """Read what `write_evaluation` wrote. Raises FormatError naming what is missing or damaged."""
    hint = "evaluate it again: onward evaluate"
    try:
        values = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        check_format(folder, values.get("format"), FORMAT)
        pairs = pl.read_parquet(folder / PAIRS) if (folder / PAIRS).is_file() else None
        return Evaluation.model_validate(values).with_table(pl.read_parquet(folder / "requests.parquet"), pairs)
    except FileNotFoundError as error:
        raise FormatError(f"{folder} is no evaluation: {Path(str(error.filename)).name} is missing", hint) from None
    except (ValueError, AttributeError, ValidationError, pl.exceptions.PolarsError) as error:
        raise FormatError(f"{folder} is damaged: {error}", hint) from None
