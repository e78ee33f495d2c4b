"""The events of training and test, to compare columns between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onward.config import SplitConfig
from onward.data.arrays import distinct
from onward.data.drift import Floats
from onward.data.sequences import Histories, Ints
from onward.data.split import split
from onward.errors import InputError


@dataclass(frozen=True)
class Parts:
    """Positions of the events that train and of those that are predicted in the test, each once.

    Attributes:
        protocol: the split's.
        item, owner: (N,) row of the item and of the user of every position.
    """

    protocol: Literal["time", "last"]
    training: Ints
    test: Ints
    item: Ints
    owner: Ints

    def events(self, table: str, codes: NDArray[Any], size: int) -> tuple[Floats, Floats]:
        """(size - 1,) events of training and of test with each value, missing ones left out.

        Args:
            table: whose rows the codes are of: "events", "items" or "users".
            codes: which value each row has, from 1; 0 for none.
        """
        counted = []
        for positions in (self.training, self.test):
            rows = positions if table == "events" else (self.item if table == "items" else self.owner)[positions]
            counted.append(np.bincount(codes[rows], minlength=size)[1:].astype(np.float64))
        return counted[0], counted[1]


def default_parts(data: Histories) -> Parts | None:
    """Training and test by the default protocol: `time`, or `last` where there are no times or they don't do.

    None where the data is too small for either.
    """
    protocols: tuple[Literal["time", "last"], ...] = ("time", "last") if data.time is not None else ("last",)
    for protocol in protocols:
        try:
            made = split(data, SplitConfig(protocol=protocol))
        except InputError:
            continue
        rows, positions = data.positions()
        owner = np.zeros(len(data.item), dtype=np.int64)
        owner[positions] = rows
        training = made.training(data).positions()[1]
        test = distinct(made.test.targets(data)[1])
        item = data.item.astype(np.int64) - 1
        return Parts(protocol, training, test, item, owner)
    return None
