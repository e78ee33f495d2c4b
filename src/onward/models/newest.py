"""Answers from the newest step of each row, for which alone the last block then works.

Legend: B rows, L steps, D width.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from onward.data.batch import Batch
from onward.models.rows import Rows
from onward.models.sequence import SequenceModel

Asked = Tensor | slice
"""One step of each row: (B,) int64 places among the B x L, or `LAST`."""
LAST = slice(-1, None)


def at_steps(x_BLD: Tensor, asked: Asked | None) -> Tensor:
    """(B, 1, D) one step of each row; all of them where that is None."""
    if asked is None:
        return x_BLD
    if isinstance(asked, slice):
        return x_BLD[:, asked]
    return x_BLD.flatten(0, 1).index_select(0, asked).unsqueeze(1)


class NewestAlone(SequenceModel):
    """A sequence model whose blocks mix steps and then treat each alone, so that the last one needn't treat all."""

    @abstractmethod
    def newest_states(self, inputs_BLD: Tensor, rows: Rows, newest: Asked) -> Tensor:
        """(B, 1, D) what `encode` gives of one step of each row, the newest."""

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """Where only each row's newest step is asked for, the last block's work is done for that one alone."""
        if len(places) > len(batch.lengths):
            return super().answer_states(batch, places)
        rows = Rows(batch)
        if len(rows.lengths) == 1:
            return self.newest_states(rows.padded(self._vectors(batch)), rows, LAST).squeeze(1)
        newest_B = torch.arange(len(places), device=places.device) * rows.longest + rows.lengths - 1
        row_n = torch.bucketize(places, rows.lengths.cumsum(0), right=True)
        return self.newest_states(rows.padded(self._vectors(batch)), rows, newest_B).squeeze(1).index_select(0, row_n)
