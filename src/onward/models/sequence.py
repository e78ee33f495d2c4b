"""The sequence model: item input, encoder, head. Every neural recommender is one of these with its own encoder.

Legend: B rows, L longest row, N real steps, D width, V items, S steps asked, T targets, K negatives.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batches import Batch
from onward.data.negatives import NegativeSampler
from onward.data.sequences import Histories, Ints
from onward.models import losses
from onward.models.base import Items, Recommender
from onward.models.interest_head import InterestHead, upgraded
from onward.models.objective import InterestOf, ObjectiveConfig, item_logits, ranking_loss
from onward.models.repeat import Repeat, check_repeat
from onward.models.tables import ItemVectors as ItemVectors
from onward.models.windows import RequestWindows
from onward.preferences import CHUNK_ROWS

ENCODE_STEPS = {True: 8_192, False: 131_072}
"""Steps encoded at once on a processor, whose cache then holds them, and on a GPU."""


class SequenceConfig(ObjectiveConfig):
    """Settings that all sequence models share; those of the loss are in `ObjectiveConfig`."""

    width: int = Field(64, ge=1)
    """Width of item vectors and states."""
    max_length: int = Field(200, ge=1)
    """Newest steps of a history that the model reads; longer training histories are cut into windows."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of activations dropped in training."""
    output: Literal["tied", "separate"] = "tied"
    """Whether items are scored by their input vectors or by a table of their own."""


class Rows:
    """Where the steps of a batch stand when each row is padded on the right to the longest.

    Attributes:
        batch: the batch, its columns flat over the real steps.
        lengths: (B,) int64 steps of each row.
        longest: L, steps of the longest row.
        full: whether there is no padding.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch, self.lengths = batch, batch.lengths
        self.longest = int(self.lengths.max())
        self.full = len(self.lengths) == 1 or int(self.lengths.sum()) == len(self.lengths) * self.longest
        self._slots = None if self.full else self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def real(self) -> Tensor:
        """(B, L) bool, false on padding."""
        return torch.arange(self.longest, device=self.lengths.device) < self.lengths[:, None]

    def padded(self, flat: Tensor) -> Tensor:
        """(N, ...) a value a step to (B, L, ...), zero on padding."""
        if self._slots is not None:
            size = len(self.lengths) * self.longest
            flat = _Pad.apply(flat, self._slots, size)  # type: ignore[no-untyped-call]
        return flat.view(len(self.lengths), self.longest, *flat.shape[1:])

    def flat(self, padded: Tensor) -> Tensor:
        """(B, L, ...) to (N, ...), the real steps row by row."""
        flat = padded.flatten(0, 1)
        if self._slots is not None:
            flat = _Pick.apply(flat, self._slots)  # type: ignore[no-untyped-call]
        return flat


class _Pad(torch.autograd.Function):
    """Rows to their places among zeros. The gradient picks them again; PyTorch's own ways add one by one."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return flat.new_zeros(size, *flat.shape[1:]).index_copy_(0, places, flat)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, *ctx.saved_tensors), None, None


class _Pick(torch.autograd.Function):
    """Rows at distinct places; the gradient puts them back."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(padded)
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, *grad.shape[1:]).index_copy_(0, places, grad), None


class SequenceModel(nn.Module, Recommender):
    """Item vectors -> encoder -> one state a step -> scores over items, or interest in one.

    A subclass sets `name`, `Config` and `traits`, makes its layers in `build`, and writes `encode`.
    """

    config: SequenceConfig
    input: nn.Module
    output: ItemVectors | None
    chunk_rows: int = CHUNK_ROWS

    def __init__(self, config: SequenceConfig, items: Items) -> None:
        nn.Module.__init__(self)
        config = config.resolved(items.n)
        Recommender.__init__(self, config, items)
        self.input = self.make_input(config, items.n)
        self.build(config, items.n)
        tied = config.output == "tied"
        self.output = None if tied else ItemVectors(items.n, config.width, config.touches_rows)
        self.output_bias = nn.Parameter(torch.zeros(items.n + 1))
        self.interest_head: InterestHead | None = None
        if config.learns_interest:
            self.interest_head = InterestHead(config, config.width, items.n, config.ranks, not self.traits.cloze)
        check_repeat(config, self.traits, self.name)
        self.repeat = Repeat(config.width) if config.repeat else None
        self.sampler = NegativeSampler(items.train_counts, config.negatives_power)
        self.initialise()
        self.eval()  # the training loop alone switches dropout on, so that threads may ask for scores at once

    def make_input(self, config: SequenceConfig, n_items: int) -> nn.Module:
        """From items to vectors. Row 0 of the table is padding."""
        return ItemVectors(n_items, config.width, config.touches_rows)

    @abstractmethod
    def build(self, config: SequenceConfig, n_items: int) -> None:
        """Make the encoder's layers."""

    @abstractmethod
    def encode(self, inputs_BLD: Tensor, rows: Rows) -> Tensor:
        """(B, L, D) states from (B, L, D) inputs; rows are real up to their length, zero after it."""

    def initialise(self) -> None:
        """Item vectors from N(0, 0.02), matrices Xavier-uniform, biases zero; recurrent matrices orthogonal."""
        for name, parameter in self.named_parameters():
            if "input.weight" in name or "output.weight" in name or "position" in name:
                nn.init.normal_(parameter, std=0.02)
            elif parameter.dim() >= 2:
                (nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_)(parameter)
            elif name.endswith("bias") or "bias_" in name:
                nn.init.zeros_(parameter)
        if self.repeat is not None:
            self.repeat.initialise()

    def start_training(self, training: Histories) -> None:
        """Take from the training events what the model needs before the first step: their values, for interest."""
        if self.interest_head is not None:
            self.interest_head.start(training, self.output_bias)

    # training

    def item_tables(self) -> dict[str, nn.Parameter]:
        """The parameters with one row an item, by name."""
        parts = {name: part for name, part in self.named_modules() if isinstance(part, ItemVectors)}
        tables = {f"{name}.weight": part.weight for name, part in parts.items()} | {"output_bias": self.output_bias}
        second = {} if self.interest_head is None else {"interest_head.bias": self.interest_head.bias}
        return tables | {name: bias for name, bias in second.items() if bias is not None}

    def states(self, batch: Batch) -> Tensor:
        """(N, D) states of all real steps, row by row."""
        vectors_ND = self._vectors(batch)
        rows = Rows(batch)
        return rows.flat(self.encode(rows.padded(vectors_ND), rows))

    def _vectors(self, batch: Batch) -> Tensor:
        vectors_ND: Tensor = self.input(batch.items, batch.bags)
        values_ND = None if self.interest_head is None else self.interest_head.inputs(batch)
        return vectors_ND if values_ND is None else vectors_ND + values_ND

    def loss(self, batch: Batch) -> Tensor:
        """The configured loss of a batch, a scalar."""
        asked, owners = batch.asked()
        states_SD = self.states(batch) if asked is None else self.answer_states(batch, asked)
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
        interest = self._interest_loss(head, states_SD, batch, owners)
        if not self.config.ranks:
            return interest
        return self._ranking_loss(states_SD, batch, owners) + self.config.interest_weight * interest

    def _ranking_loss(self, states_SD: Tensor, batch: Batch, owners: Tensor | None) -> Tensor:
        wanted, weights, table, bias = batch.targets, batch.target_weights, self._table(), self.output_bias
        copied = None
        if self.repeat is not None:
            copied = self.repeat.mixture(states_SD, batch, batch.asked()[0], owners, table)
        rows = self.chunk_rows
        return ranking_loss(states_SD, wanted, weights, table, bias, self.sampler, self.config, rows, owners, copied)

    def _interest_loss(self, head: InterestHead, states_SD: Tensor, batch: Batch, owners: Tensor | None) -> Tensor:
        """How far the interest in each target is from what came."""
        told = head.told(batch, batch.asked()[0])
        states_TD, offset_T = head.states(states_SD, told), told.offset
        if owners is not None:
            states_TD, offset_T = states_TD[owners], offset_T[owners]
        return head.loss(states_TD, offset_T, batch, self._table(), self.output_bias, self.sampler)

    def _table(self) -> Tensor:
        table = self.input if self.output is None else self.output
        assert isinstance(table, ItemVectors)
        return table.weight

    # answering

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D) states to answer from after some steps, (n,) int64; each row's newest step is among them.

        Of a model that isn't causal, only those are asked.
        """
        return self.states(batch).index_select(0, places)

    def last_states(self, histories: Histories) -> Tensor:
        """(B, D) state after each history's newest step; histories of one item or more."""
        return self._answers(histories, self._ranking_states)

    def _answers(self, histories: Histories, answer: Callable[[Batch, Tensor], Tensor]) -> Tensor:
        """(B, ...) what `answer` gives of a batch and the steps asked, after each history's newest step."""
        device = self.output_bias.device
        windows = RequestWindows(histories, self.config.max_length, self.traits)
        with torch.inference_mode():
            found = [
                (requests, answer(batch.to(device), places.to(device)))
                for requests, places, batch in windows.batches(ENCODE_STEPS[device.type == "cpu"])
            ]
            if len(found) == 1:  # a batch has its requests in order
                return found[0][1]
            order = torch.cat([requests for requests, _ in found]).argsort()
            return torch.cat([states for _, states in found]).index_select(0, order.to(device))

    def _ranking_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D) states whose products with the output table rank: by interest where nothing else was learned."""
        states = self.answer_states(batch, places)
        if self.interest_head is None or self.config.ranks:
            return states
        return self.interest_head.states(states, self.interest_head.told(batch, places))

    def _interest_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D + 1) states that interest is scored from, and b_u."""
        assert self.interest_head is not None
        told = self.interest_head.told(batch, places)
        states = self.interest_head.states(self.answer_states(batch, places), told)
        return torch.cat([states, told.offset[:, None]], 1)

    def score_histories(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32 logits of every item after each history; log-probabilities where items are repeated."""
        with torch.no_grad():
            states, table = self.last_states(histories), self._table()
            scores = F.linear(states, table, self.output_bias)
            if self.repeat is not None:
                scores = self.repeat.mix(scores, states, histories, self.config.max_length, table)
        return scores.float()

    @property
    def max_threads(self) -> int:
        """Threads that may ask for scores at once; a GPU answers one after the other."""
        return super().max_threads if self.output_bias.device.type == "cpu" else 1

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
        table, bias = self.interest_head.scorer(self._table(), self.output_bias)
        states, offset = self._interest_answers(histories)
        with torch.no_grad():
            return (item_logits(states, torch.from_numpy(items).to(states.device), table, bias) + offset).sigmoid()

    def interests(self, histories: Histories) -> Tensor:
        """(B, V + 1) float32: the interest of each history in every item."""
        if self.interest_head is None:
            return super().interests(histories)
        table, bias = self.interest_head.scorer(self._table(), self.output_bias)
        states, offset = self._interest_answers(histories)
        with torch.no_grad():
            return (F.linear(states, table, bias) + offset[:, None]).sigmoid()

    def _interest_answers(self, histories: Histories) -> tuple[Tensor, Tensor]:
        """(B, D) states and (B,) b_u."""
        answers = self.output_bias.new_zeros(len(histories), self.config.width + 1)
        known = histories.lengths > 0
        with torch.no_grad():
            if known.any():
                answers[torch.from_numpy(known)] = self._answers(histories.select(known), self._interest_states)
        return answers[:, :-1], answers[:, -1]

    def state(self) -> dict[str, Tensor]:
        """Weights and statistics by name."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights and statistics."""
        self.load_state_dict(upgraded(state, self.state_dict()))
