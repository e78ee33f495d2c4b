"""Interest in a sequence model: what its head learns, and how it is answered.

Legend: B requests, S states, T targets, D width, F what past values say besides, V items.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.sequences import Histories, Ints
from onward.models.interest_head import InterestHead
from onward.models.objective import InterestOf, item_logits
from onward.models.sequence_states import SequenceStates
from onward.models.value_process import Told


class SequenceInterest(SequenceStates):
    """The part of a sequence model that is about interest; all of it does nothing without a head."""

    def start_training(self, training: Histories, seed: int = 0) -> None:
        """Take from the training events what the model needs before the first step: their values, for interest."""
        if self.interest_head is not None:
            self.interest_head.start(training, self.items, self.output_bias, seed)

    def interest_loss(self, head: InterestHead, states_SD: Tensor, batch: Batch, owners: Tensor | None) -> Tensor:
        """How far the interest in each target is from what came, a scalar; arguments as in `Batch.asked`."""
        told = head.told(batch, batch.asked()[0])
        states_TD = self._told(head.states(states_SD), batch)
        if owners is not None:
            states_TD, told = states_TD[owners], told.at(owners)
        return head.loss(states_TD, told, batch, *self._outputs(), self.sampler)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The values that interest 0 and 1 stand for, of the training events; None of a model that read none."""
        if self.interest_head is None or not self.interest_head.reads_values:
            return None
        low, high = self.interest_head.bounds.tolist()
        return low, high

    @property
    def interest_of(self) -> InterestOf | None:
        """What interest was learned from; None for a model that only ranks."""
        return None if self.interest_head is None else self.config.interest_of

    def interest(self, histories: Histories, items: Ints) -> Tensor:
        """(B,) float32 in [0, 1]: expected interest of each history in one item; an empty history has a zero state."""
        if self.interest_head is None:
            return super().interest(histories, items)
        table, bias = self.interest_head.table(*self._outputs_kept())
        states, offset = self._interest_answers(self.interest_head, histories)
        with torch.no_grad():
            return (item_logits(states, torch.from_numpy(items).to(states.device), table, bias) + offset).sigmoid()

    def interests(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32: the interest of each history in every item."""
        if self.interest_head is None:
            return super().interests(histories)
        table, bias = self.interest_head.table(*self._outputs_kept())
        states, offset = self._interest_answers(self.interest_head, histories)
        with torch.no_grad():
            return (F.linear(states, table, bias) + offset[:, None]).sigmoid()

    def _interest_answers(self, head: InterestHead, histories: Histories) -> tuple[Tensor, Tensor]:
        """(B, D + F) states and (B,) what is added whatever the item."""

        def answer(batch: Batch, places: Tensor) -> Tensor:
            told: Told = head.told(batch, places)
            states = head.states(self.answer_states(batch, places))
            return torch.cat([states, told.vector, told.offset[:, None]], 1)

        known = histories.lengths > 0
        with torch.no_grad():
            found = self._answers(histories.select(known), answer) if known.any() else None
            width = self._outputs_kept()[0].shape[1] + head.extra + 1
            answers = self.output_bias.new_zeros(len(histories), width)
            if found is not None:
                answers[torch.from_numpy(known)] = found
            states = self.told_by(answers[:, :-1], histories)
            return states, answers[:, -1] + head.levels(states[:, : states.shape[1] - head.extra])
