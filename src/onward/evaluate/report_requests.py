"""The requests behind a comparison, found again in its dataset: what slices and examples are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onward.bundle import Bundle
from onward.data.dataset import Dataset
from onward.data.sequences import Histories
from onward.data.split import Part, Split, split
from onward.errors import DataError, FormatError
from onward.evaluate.compare import Comparison
from onward.evaluate.setting import open_trained_dataset


@dataclass(frozen=True)
class Asked:
    """The requests of a comparison; row r of `part` is row r of every model's table."""

    dataset: Dataset
    split: Split
    part: Part

    @property
    def data(self) -> Histories:
        """In whose columns the positions of `part` lie."""
        return self.dataset.histories


def find_requests(comparison: Comparison, bundle: Bundle, dataset: str | Path | None) -> Asked:
    """Divide the dataset as the training did.

    Args:
        bundle: of any row.
        dataset: where it is; by default where it was at the training.

    Raises:
        FormatError: the dataset isn't there, or is another one.
        DataError: the requests of this protocol can't be found again.
    """
    protocol = comparison.protocol
    if protocol.get("external"):
        raise DataError("the evaluation was of external data")
    if protocol.get("cold") != "miss":
        raise DataError(f"the evaluation was with cold = '{protocol.get('cold')}'")
    opened = open_trained_dataset(bundle, dataset)
    if opened.manifest.hash != protocol["dataset"]:
        raise FormatError(f"{opened.path} is another dataset than that of the evaluation")
    divided = split(opened.histories, bundle.manifest.split, opened.manifest.actions)
    part = divided.valid if comparison.part == "valid" else divided.test
    table = comparison.rows[0].evaluation.table
    users = opened.users["user"].gather(part.user)
    lengths = part.history_end - part.history_start
    if len(users) != table.height or not (
        users.equals(table["user"]) and np.array_equal(lengths, table["history_length"].to_numpy())
    ):
        raise DataError("the dataset's requests are not those of the evaluation", "evaluate the models again")
    return Asked(opened, divided, part)
