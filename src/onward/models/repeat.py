"""Repeat or explore: a gate between items of the history itself and the whole catalog, for any encoder.

After RepeatNet (Ren et al., AAAI 2019, arXiv:1812.02646). What comes next is item i with probability

    p(i) = g q(i) + (1 - g) r(i)        q = softmax over the catalog        r = softmax over the items of the history

where g = sigmoid(w [h, s] + b) is the probability of exploring, from the encoder's state h and the sizes s of the
history, and an item of the history has, in r, the logit

    log(occurrences) + (W h) (U e_i) / sqrt(D) + v gelu(A h + B e_i + C x_i)

with e_i its output vector and x_i its record in all steps that h has seen (`habits.py`): how often it came, how lately,
how regularly. It starts as how often each item occurs in the history. It is trained by the exact likelihood of this
mixture.

What differs from the paper: keys are items and their records, not encoder states, so that the answer follows from the
state and the history alone, whatever the encoder; exploring may find an item of the history as well, so that no mask
depends on the row and all states share one product with the catalog. Records follow work on next baskets, where
frequency and regularity of a household's own items beat attention (Li et al., TOIS 2023, arXiv:2109.14233).

Legend: B rows, A steps asked of the row that has most, S steps asked, T targets, U distinct items of the rows, I those
of the row that has most, n pairs of a step asked and an item of its history, D width, V items.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batch import Batch
from onward.data.batches import Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Traits
from onward.models.habits import NUMBERS, Habits
from onward.models.objective import ObjectiveConfig

HIDDEN = 16
"""Width of the network that reads records."""


def check_repeat(config: ObjectiveConfig, traits: Traits, model: str) -> None:
    """Raise ConfigError where repeating is asked for and can't be learned."""
    if not config.repeat:
        return
    if config.loss not in ("auto", "cross_entropy"):
        raise ConfigError(
            f"model.repeat is learned by the likelihood over the whole catalog, not by model.loss = '{config.loss}'",
            "leave model.loss out, or model.repeat",
        )
    if traits.cloze:
        raise ConfigError(
            f"model.repeat would show model '{model}' what it hides: it is trained on steps of its own history",
            "leave it out, or choose another model",
        )


class Repeat(nn.Module):
    """The gate, and which item of the history is repeated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.state_hidden, self.item_hidden = nn.Linear(width, HIDDEN), nn.Linear(width, HIDDEN, bias=False)
        self.record_hidden, self.record = nn.Linear(NUMBERS, HIDDEN, bias=False), nn.Linear(HIDDEN, 1, bias=False)
        self.gate = nn.Linear(width + 2, 1)

    def initialise(self) -> None:
        """Frequency; as likely to repeat as to explore."""
        for layer in (self.query, self.record, self.gate):
            nn.init.zeros_(layer.weight)

    def mixture(
        self, states_SD: Tensor, batch: Batch, asked: Tensor | None, owners: Tensor | None, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two (T,) log-probabilities: exploring after a target's step, and repeating that very target.

        Args:
            states_SD: after the steps `asked` of the batch, as `Batch.asked` says, like `owners`.
            table: (V + 1, D) output vectors.
        """
        every = torch.arange(len(states_SD), device=states_SD.device)
        steps_S = every if asked is None else asked
        of_T = every if owners is None else owners
        # where nothing is in the history yet, nothing can be repeated: those steps come last
        steps_S = steps_S[steps_S < batch.n_steps]
        states_SD = states_SD[: len(steps_S)]
        inside_T = of_T < len(steps_S)
        habits = Habits.of(batch, steps_S, states_SD.dtype)
        explore, repeat = self._log_gate(states_SD, habits)
        chances = self._log_chances(states_SD, habits, table)
        chosen = inside_T.nonzero().squeeze(1)
        of = of_T[chosen]
        slot, there = habits.find(of, batch.targets[chosen])
        log_repeated = chances[of, slot]
        there = there & (log_repeated > torch.finfo(log_repeated.dtype).min)
        log_repeated = torch.where(there, log_repeated, -torch.inf)
        size = len(of_T)
        return (
            explore.new_zeros(size).index_copy(0, chosen, explore[of]),
            explore.new_full((size,), -torch.inf).index_copy(0, chosen, repeat[of] + log_repeated),
        )

    def mix(self, scores: Tensor, states_BD: Tensor, histories: Histories, max_length: int, table: Tensor) -> Tensor:
        """(B, V + 1) log-probabilities of items, from (B, V + 1) logits of exploring, which are overwritten.

        Args:
            states_BD: after the newest step of each history, of which `max_length` steps are looked at.
        """
        scores[:, 0] = -torch.inf
        mixed = torch.log_softmax(scores, 1)
        known = np.flatnonzero(histories.lengths > 0)
        if not len(known):
            return mixed
        row_S = torch.from_numpy(known).to(scores.device)
        states_SD, histories = states_BD[row_S], histories.select(known)
        steps = Steps(histories)
        first = np.maximum(steps.start, steps.end - max_length)
        batch = steps.encode(first, steps.end, histories.at).to(scores.device)
        habits = Habits.of(batch, batch.lengths.cumsum(0) - 1, states_SD.dtype)
        explore, repeat = self._log_gate(states_SD, habits)
        chances = self._log_chances(states_SD, habits, table)
        mixed += explore.new_zeros(len(mixed)).index_copy(0, row_S, explore)[:, None]
        repeated = chances[habits.asked, habits.slot[habits.item]] + repeat[habits.asked]
        flat, places = mixed.view(-1), row_S[habits.asked] * mixed.shape[1] + habits.items[habits.item]
        flat[places] = torch.logaddexp(flat[places], repeated)
        return mixed

    def _log_gate(self, states_SD: Tensor, habits: Habits) -> tuple[Tensor, Tensor]:
        """(S,) log-probability of exploring, and of repeating."""
        logit: Tensor = self.gate(torch.cat([states_SD, habits.sizes], 1)).squeeze(1)
        return F.logsigmoid(logit), F.logsigmoid(-logit)

    def _log_chances(self, states_SD: Tensor, habits: Habits, table: Tensor) -> Tensor:
        """(S, I) log-probability of each item of a step's row, where something is repeated; the lowest number of all
        where it hasn't come yet."""
        vectors_UD = F.embedding(habits.items, table)
        hidden = self.state_hidden(states_SD)[habits.asked] + self.item_hidden(vectors_UD)[habits.item]
        record = self.record(F.gelu(hidden + self.record_hidden(habits.numbers))).squeeze(1)
        place = habits.asked * habits.most + habits.slot[habits.item]
        logits = record + habits.count.log() + self._content(states_SD, vectors_UD, habits).flatten()[place]
        lowest = torch.finfo(logits.dtype).min
        dense = logits.new_full((len(states_SD) * habits.most,), lowest).index_copy(0, place, logits)
        return F.log_softmax(dense.view(len(states_SD), -1), 1)

    def _content(self, states_SD: Tensor, vectors_UD: Tensor, habits: Habits) -> Tensor:
        """(S, I) products of what the states ask for with the items of their rows."""
        rows, row_S, row_U = int(habits.row.max()) + 1, habits.row, habits.key // habits.width
        asked_B = torch.bincount(row_S, minlength=rows)
        slot_S = torch.arange(len(row_S), device=row_S.device) - (asked_B.cumsum(0) - asked_B)[row_S]
        most = int(asked_B.max())
        place_S = row_S * most + slot_S
        used_U = (row_U < rows).nonzero().squeeze(1)
        place_U = (row_U * habits.most + habits.slot)[used_U]
        query, key = self.query(states_SD), self.key(vectors_UD[used_U])
        query_BAD = query.new_zeros(rows * most, query.shape[1]).index_copy(0, place_S, query).view(rows, most, -1)
        key_BID = (
            key.new_zeros(rows * habits.most, key.shape[1]).index_copy(0, place_U, key).view(rows, habits.most, -1)
        )
        product_BAI = torch.bmm(query_BAD, key_BID.transpose(1, 2)) / math.sqrt(states_SD.shape[1])
        return product_BAI.flatten(0, 1)[place_S]
