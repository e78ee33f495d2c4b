"""What a sequence model minimises, put together: ranking, interest and the contrast of two views.

Legend: B rows, S states, D width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from onward.data.batch import Batch
from onward.models import losses
from onward.models.objective import ranking_loss
from onward.models.sequence_interest import SequenceInterest
from onward.preferences import CHUNK_ROWS


class SequenceLosses(SequenceInterest):
    """The training of a sequence model, as far as a batch goes."""

    chunk_rows: int = CHUNK_ROWS
    item_optimiser: ClassVar[Literal["same", "adagrad"]] = "same"
    """What `train.item_optimiser = "auto"` means where a step's gradient reaches every item."""

    def loss(self, batch: Batch) -> Tensor:
        """The configured loss of a batch, a scalar."""
        asked, owners = batch.asked()
        states_SD = self.states(batch) if asked is None else self.answer_states(batch, batch.after_events(asked))
        loss = self._loss_at(states_SD, batch, owners)
        if self.config.contrastive > 0:
            loss = loss + self.config.contrastive * self._contrast(states_SD, batch)
        return loss

    def _contrast(self, states_SD: Tensor, batch: Batch) -> Tensor:
        """The contrastive term of each row's newest state and that of its second view; steps are events."""
        view = batch if batch.view is None else batch.view
        states_BD, targets_B = states_SD, batch.targets
        if batch.target_steps is None:
            newest_B = batch.lengths.cumsum(0) - 1
            states_BD, targets_B = states_SD[newest_B], targets_B[newest_B]
        both = torch.cat([states_BD, self.answer_states(view, view.lengths.cumsum(0) - 1)])
        return losses.supervised_contrastive(both, targets_B.repeat(2), self.config.temperature)

    def _loss_at(self, states_SD: Tensor, batch: Batch, owners: Tensor | None) -> Tensor:
        """The configured loss of states and of the targets that follow each of them (`Batch.asked`)."""
        head = self.interest_head
        if head is None:
            return self._ranking_loss(states_SD, batch, owners)
        interest = self.interest_loss(head, states_SD, batch, owners)
        if not self.config.ranks:
            return interest
        return self._ranking_loss(states_SD, batch, owners) + self.config.interest_weight * interest

    def _ranking_loss(self, states_SD: Tensor, batch: Batch, owners: Tensor | None) -> Tensor:
        states_SD = self._told(states_SD, batch)
        wanted, weights, (table, bias) = batch.targets, batch.target_weights, self._outputs()
        copied = None
        if self.repeat is not None:
            assert isinstance(table, Tensor)  # all of the catalog is ranked
            copied = self.repeat.mixture(states_SD, batch, batch.asked()[0], owners, table)
        rows = self.chunk_rows
        return ranking_loss(states_SD, wanted, weights, table, bias, self.sampler, self.config, rows, owners, copied)
