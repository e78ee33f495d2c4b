"""Repeat or explore: a gate between items of the history itself and the whole catalog, for any encoder.

After RepeatNet (Ren et al., AAAI 2019, arXiv:1812.02646). What comes next is item i with probability

    p(i) = g(h) q(i) + (1 - g(h)) r(i)        q = softmax over the catalog        r(i) = sum of a(m) over members m of i

where h is the encoder's state, g = sigmoid(w h + b) is the probability of exploring, and a is attention over the
members m of all steps that h has seen: a softmax of (W h) (U e_m) / sqrt(D) + u1(h) x + u2(h) x^2, with e_m the item's
output vector, x = log(1 + age) and age the steps since. It starts as an even attention, under which r is how often each
item occurs in the history. It is trained by the exact likelihood of this mixture.

What differs from the paper: keys are items and their age, not encoder states, so that the answer follows from the
state and the history alone, whatever the encoder; members of a basket are looked at one by one; exploring may find
an item of the history as well, so that no mask depends on the row and all states share one product with the catalog.

Legend: B rows, A steps asked of the row that has most, P members of the longest row, M members of all rows, S steps
asked, T targets, D width, V items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batches import Batch, Steps
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models.base import Traits
from onward.models.objective import ObjectiveConfig


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


@dataclass(frozen=True)
class Members:
    """Where the members of a batch's steps stand, row by row.

    Attributes:
        step, row: (M,) int64 the step (of N) and the row of each member.
        place: (M,) int64 its number within its row.
        last: (N,) int64 one past each step's last member, of M.
    """

    step: Tensor
    row: Tensor
    place: Tensor
    last: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Members:
        """Those of a batch."""
        steps = torch.arange(int(batch.lengths.sum()), device=batch.items.device)
        row_N = torch.repeat_interleave(batch.lengths)
        first = steps if batch.bags is None else batch.bags
        last = torch.cat([first[1:], first.new_tensor([len(batch.items)])])
        step = steps if batch.bags is None else torch.repeat_interleave(last - first)
        row = row_N[step]
        begin = first[batch.lengths.cumsum(0) - batch.lengths]
        return cls(step, row, torch.arange(len(step), device=step.device) - begin[row], last)


class Repeat(nn.Module):
    """The gate and the attention over the history's members."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.recency, self.gate = nn.Linear(width, 2), nn.Linear(width, 1)

    def initialise(self) -> None:
        """Even attention; as likely to repeat as to explore."""
        for layer in (self.query, self.recency, self.gate):
            nn.init.zeros_(layer.weight)

    def log_gate(self, states_SD: Tensor) -> tuple[Tensor, Tensor]:
        """(S,) log-probability of exploring, and of repeating."""
        logit: Tensor = self.gate(states_SD).squeeze(1)
        return F.logsigmoid(logit), F.logsigmoid(-logit)

    def mixture(
        self, states_SD: Tensor, batch: Batch, asked: Tensor | None, owners: Tensor | None, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two (T,) log-probabilities: exploring after a target's step, and repeating that very target.

        Args:
            states_SD: after the steps `asked` of the batch, as `Batch.asked` says, like `owners`.
            table: (V + 1, D) output vectors.
        """
        members = Members.of(batch)
        every = torch.arange(len(states_SD), device=states_SD.device)
        steps_S = every if asked is None else asked
        of_T = every if owners is None else owners
        # where nothing is in the history yet, nothing can be repeated: those steps come last
        steps_S = steps_S[steps_S < len(members.last)]
        states_SD = states_SD[: len(steps_S)]
        inside_T = of_T < len(steps_S)
        explore, repeat = self.log_gate(states_SD)
        attention, row_S, place_S = self._attend(states_SD, steps_S, batch, members, table)
        chosen = inside_T.nonzero().squeeze(1)
        of = of_T[chosen]
        target, member = _same_items(batch, members, batch.targets[chosen], row_S[of], members.last[steps_S[of]])
        slot = (row_S * attention.shape[1] + place_S)[of[target]] * attention.shape[2] + members.place[member]
        chances = attention.flatten().index_select(0, slot)
        repeated = chances.new_zeros(len(chosen)).index_add(0, target, chances)
        possible = repeated > 0
        log_repeated = torch.where(possible, repeated.where(possible, 1.0).log(), -torch.inf)
        if len(chosen) == len(of_T):
            return explore[of], repeat[of] + log_repeated
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
        steps = Steps(histories)
        batch = steps.encode(np.maximum(steps.start, steps.end - max_length), steps.end).to(scores.device)
        members = Members.of(batch)
        attention, _, _ = self._attend(states_BD, batch.lengths.cumsum(0) - 1, batch, members, table)
        explore, repeat = self.log_gate(states_BD)
        scores[:, 0] = -torch.inf
        mixed = torch.log_softmax(scores, 1).add_(explore[:, None])
        places, which = (members.row * mixed.shape[1] + batch.items).unique(return_inverse=True)  # type: ignore[no-untyped-call]
        shares = attention[members.row, 0, members.place]
        repeated = shares.new_zeros(len(places)).index_add_(0, which, shares).log() + repeat[places // mixed.shape[1]]
        flat = mixed.view(-1)
        flat[places] = torch.logaddexp(flat[places], repeated)
        return mixed

    def _attend(
        self, states_SD: Tensor, steps_S: Tensor, batch: Batch, members: Members, table: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, A, P) attention of each step asked over its row's members; (S,) its row, and its number there."""
        row_S = members.row[members.last[steps_S] - 1]
        asked_B = torch.bincount(row_S, minlength=len(batch.lengths))
        place_S = torch.arange(len(steps_S), device=row_S.device) - (asked_B.cumsum(0) - asked_B)[row_S]
        longest, most = int(members.place.max()) + 1, int(asked_B.max())
        slot_S, slot_M = row_S * most + place_S, members.row * longest + members.place
        rows = len(batch.lengths)

        def spread(flat: Tensor, slot: Tensor, size: int) -> Tensor:
            return flat.new_zeros(rows * size, *flat.shape[1:]).index_copy(0, slot, flat).view(rows, size, -1)

        vectors_MD = F.embedding(batch.items, table)
        query_BAD = spread(self.query(states_SD), slot_S, most)
        key_BPD = spread(self.key(vectors_MD), slot_M, longest)
        # padding is younger than anything asked for, so it is never seen
        step_BP = torch.full((rows * longest,), len(members.last), device=row_S.device)
        step_BP = step_BP.index_copy(0, slot_M, members.step).view(rows, 1, longest)
        age_BAP = spread(steps_S[:, None], slot_S, most) - step_BP
        seen_BAP = age_BAP >= 0
        x_BAP = age_BAP.clamp(min=0).to(states_SD.dtype).log1p()
        slope_BA2 = spread(self.recency(states_SD), slot_S, most)
        logits = torch.baddbmm(
            x_BAP * (slope_BA2[..., :1] + slope_BA2[..., 1:] * x_BAP),
            query_BAD,
            key_BPD.transpose(1, 2),
            alpha=1 / math.sqrt(states_SD.shape[1]),
        )
        lowest = torch.finfo(logits.dtype).min  # a slot that asks nothing sees nothing: -inf would be no softmax
        return logits.masked_fill(~seen_BAP, lowest).softmax(2), row_S, place_S


def _same_items(
    batch: Batch, members: Members, items_T: Tensor, row_T: Tensor, last_T: Tensor
) -> tuple[Tensor, Tensor]:
    """(target, member) of each pair of one item, the member in the target's row and, of all M, before `last_T`."""
    n_items, size = int(torch.cat([batch.items, items_T]).max()) + 1, len(batch.items) + 1
    number = torch.arange(len(batch.items), device=row_T.device)
    keys, member = ((members.row * n_items + batch.items) * size + number).sort()
    wanted = (row_T * n_items + items_T) * size
    begin, end = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted + last_T)
    found = end - begin
    target = torch.repeat_interleave(found)
    within = torch.arange(len(target), device=row_T.device) - (found.cumsum(0) - found)[target]
    return target, member[begin[target] + within]
