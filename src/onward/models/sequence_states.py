"""States of a sequence model: what the encoder makes of batches in training and of histories to answer.

Legend: B rows or requests, L longest row, N real steps, S steps asked, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onward.data.batch import Batch
from onward.data.sequences import Histories
from onward.models.rows import Rows
from onward.models.sequence_layers import SequenceLayers
from onward.models.windows import RequestWindows, newest_window

ENCODE_STEPS = {True: 8_192, False: 131_072}
"""Steps encoded at once on a processor, whose cache then holds them, and on a GPU."""


class SequenceStates(SequenceLayers):
    """From events to states."""

    def states(self, batch: Batch) -> Tensor:
        """(N, D) states of all real steps, row by row."""
        vectors_ND = self._vectors(batch)
        rows = Rows(batch)
        return rows.flat(self.encode(rows.padded(vectors_ND), rows))

    def _vectors(self, batch: Batch) -> Tensor:
        vectors_ND: Tensor = (
            self.input(batch.items, batch.bags) if self.featured is None else self.featured.inputs(batch)
        )
        values_ND = None if self.interest_head is None else self.interest_head.inputs(batch)
        return vectors_ND if values_ND is None else vectors_ND + values_ND

    def _told(self, states_SD: Tensor, batch: Batch) -> Tensor:
        """States with what is known of who asks, and when; those of empty histories come last."""
        return states_SD if self.featured is None else self.featured.ask_steps(states_SD, batch, batch.asked()[0])

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D) states to answer from after some steps, (n,) int64; each row's newest step is among them.

        Of a model that isn't causal, only those are asked.
        """
        return self.states(batch).index_select(0, places)

    def told_by(self, states: Tensor, histories: Histories) -> Tensor:
        """(B, ...) the same states with what is known of who asks, and when."""
        if self.featured is None:
            return states
        with torch.inference_mode():
            own, rest = states[:, : self.config.width], states[:, self.config.width :]
            return torch.cat([self.featured.ask_histories(own, histories), rest], 1)

    def _answers(self, histories: Histories, answer: Callable[[Batch, Tensor], Tensor]) -> Tensor:
        """(B, ...) what `answer` gives of a batch and the steps asked, after each history's newest step."""
        device = self.output_bias.device
        with torch.inference_mode():
            if len(histories) == 1:
                batch = newest_window(histories, self.config.max_length, self.traits).to(device)
                return answer(batch, batch.lengths - 1)
            windows = RequestWindows(histories, self.config.max_length, self.traits)
            found = [
                (requests, answer(batch.to(device), places.to(device)))
                for requests, places, batch in windows.batches(ENCODE_STEPS[device.type == "cpu"])
            ]
            if len(found) == 1:  # a batch has its requests in order
                return found[0][1]
            order = torch.cat([requests for requests, _ in found]).argsort()
            return torch.cat([states for _, states in found]).index_select(0, order.to(device))
