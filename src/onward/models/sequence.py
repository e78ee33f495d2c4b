"""The sequence model: item input, encoder, head. Every neural recommender is one of these with its own encoder.

What it is made of stands in files of their own, each built on the one before: `sequence_layers`, `sequence_states`,
`sequence_interest`, `sequence_losses`. Here it ranks.

Legend: B requests, D width, W width with what is appended, V items.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.sequences import Histories
from onward.models.base import SMALL_SCORES, Bools, Lists
from onward.models.quick import Quick
from onward.models.sequence_layers import SequenceConfig as SequenceConfig
from onward.models.sequence_losses import SequenceLosses

FEW_HISTORIES = 8
"""As many are encoded by what makes states quickly, where there is something."""


class SequenceModel(SequenceLosses):
    """Item vectors -> encoder -> one state a step -> scores over items, or interest in one.

    A subclass sets `name`, `Config` and `traits`, makes its layers in `build`, and writes `encode`
    (`sequence_layers.py`).
    """

    def recommend(
        self,
        histories: Histories,
        k: int = 10,
        candidates: Bools | None = None,
        seen: Literal["exclude", "include"] = "exclude",
        exclude: Histories | None = None,
    ) -> Lists:
        """As `Recommender.recommend`; a single history is answered quickly, where something does."""
        alone = len(histories) == 1 and self.items.n < SMALL_SCORES and exclude is None and not self.asks_more
        quick = self.quick_for(histories) if alone else None
        if quick is not None and self._known(histories)[0]:
            found = quick.best(histories, k, self.items.candidates if candidates is None else candidates, seen)
            if found is not None:
                return found
        return super().recommend(histories, k, candidates, seen, exclude)

    def quick_for(self, histories: Histories) -> Quick | None:
        """What answers few such histories sooner than the layers do, where something does."""
        return self.quick

    def last_states(self, histories: Histories) -> Tensor:
        """(B, W) state that each history is answered from; histories of one item or more, unless the model `opens`."""
        return self.asked_by(self.encoded(histories), histories)

    def encoded(self, histories: Histories) -> Tensor:
        """(B, W) state after each history's newest step, as far as its events say; zero for an empty one.

        W is the width D, and of a model of interest alone what past values say besides (`InterestHead.table`).
        """
        known = histories.lengths > 0
        if known.all():
            quick = self.quick_for(histories) if len(histories) <= FEW_HISTORIES else None
            if quick is not None:
                return torch.from_numpy(quick.states(histories))
            return self._answers(histories, self._ranking_states)
        extra = 0 if self.interest_head is None or self.config.ranks else self.interest_head.extra
        states = self.output_bias.new_zeros(len(histories), self.config.width + extra)
        if known.any():
            states[torch.from_numpy(known)] = self._answers(histories.select(known), self._ranking_states)
        return states

    def asked_by(self, states: Tensor, histories: Histories) -> Tensor:
        """(B, W) states to rank by: the same with what is known of who asks, and when.

        What the history's items are like is appended, where that counts for items without events (`Likeness`).
        """
        states = self.told_by(states, histories)
        if self.likeness is None:
            return states
        return torch.cat([states, self.likeness.of_histories(histories).to(states.device)], 1)

    def _ranking_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, W) states whose products with the output table rank: by interest where nothing else was learned."""
        states = self.answer_states(batch, places)
        if self.interest_head is None or self.config.ranks:
            return states
        return torch.cat([self.interest_head.states(states), self.interest_head.told(batch, places).vector], 1)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 logits of every item after each history; log-probabilities where items are repeated."""
        with torch.no_grad():
            states, (table, bias) = self.last_states(histories), self.output_table()
            scores = F.linear(states, table, bias)
            if self.repeat is not None:
                width = self.config.width
                scores = self.repeat.mix(scores, states[:, :width], histories, self.config.max_length, table[:, :width])
        return scores.float()

    @property
    def max_threads(self) -> int:
        """Threads that may ask for scores at once; a GPU answers one after the other."""
        return super().max_threads if self.output_bias.device.type == "cpu" else 1

    def knows(self, histories: Histories) -> Bools:
        """(B,) bool: histories that the model answers itself; popularity answers the others."""
        return self._known(histories)

    def _known(self, histories: Histories) -> Bools:
        """Where features make item vectors, any item says something; who asks, and when, does even before the first."""
        known = super()._known(histories)
        if self.featured is not None and self.featured.makes_items:
            known |= histories.lengths > 0
        if self.opens:
            known |= histories.lengths == 0
        return known
