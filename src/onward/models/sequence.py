"""The sequence model: item input, encoder, head. Every neural recommender is one of these with its own encoder.

Legend: B rows, L longest row, N real steps, D width, V items, S steps asked, T targets, K negatives.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from onward.data.batches import Batch
from onward.data.negatives import NegativeSampler
from onward.data.sequences import Histories
from onward.errors import ConfigError
from onward.models import losses
from onward.models.base import SMALL_SCORES, Bools, Items, Lists, Recommender
from onward.models.features.columns import Column
from onward.models.features.featured import TABLES, Featured
from onward.models.features.layer import FeatureLayer
from onward.models.features.likeness import PREFIX as LIKENESS
from onward.models.features.likeness import Likeness
from onward.models.features.tower import Tower
from onward.models.interest_answers import InterestAnswers
from onward.models.interest_head import InterestHead
from onward.models.objective import ObjectiveConfig, ranking_loss
from onward.models.quick import Quick
from onward.models.repeat import Repeat, check_repeat
from onward.models.rows import Rows
from onward.models.tables import ItemVectors as ItemVectors
from onward.models.windows import RequestWindows, newest_window
from onward.preferences import CHUNK_ROWS
from onward.space import Choice, Range

ENCODE_STEPS = {True: 8_192, False: 131_072}
"""Steps encoded at once on a processor, whose cache then holds them, and on a GPU."""
FEW_HISTORIES = 8
"""As many are encoded by what makes states quickly, where there is something."""


class SequenceConfig(ObjectiveConfig):
    """Settings that all sequence models share; those of the loss are in `ObjectiveConfig`."""

    width: Annotated[int, Choice((64, 128, 256, 32))] = Field(64, ge=1)
    """Width of item vectors and states."""
    max_length: int = Field(200, ge=1)
    """Newest steps of a history that the model reads; longer training histories are cut into windows."""
    dropout: Annotated[float, Range(0.0, 0.7)] = Field(0.2, ge=0, lt=1)
    """Share of activations dropped in training."""
    output: Literal["tied", "separate"] = "tied"
    """Whether items are scored by their input vectors or by a table of their own."""
    features: Literal["none", "all"] | tuple[str, ...] = "none"
    """Columns that are read beside item ids: all, or some by name, OWNER.NAME, owner (events, items, users) or kind."""
    without: tuple[str, ...] = ()
    """Columns that are left out of these, named in the same ways."""
    id_dropout: float = Field(0.1, ge=0, lt=1)
    """With features of items: share of the items whose id counts as unknown in a training step, so that an item can be
    known by its features alone."""
    feature_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of (thing, column) pairs whose feature is left out in training."""


class SequenceModel(InterestAnswers, nn.Module, Recommender):
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
        self.interest_head = None
        if config.learns_interest:
            self.interest_head = InterestHead(config, config.width, items.n, config.ranks, not self.traits.cloze)
        check_repeat(config, self.traits, self.name)
        self.repeat = Repeat(config.width) if config.repeat else None
        self.sampler = NegativeSampler(items.train_counts, config.negatives_power)
        self.features: FeatureLayer | None = None
        self.featured: Featured | None = None
        self.likeness: Likeness | None = None
        self.quick: Quick | None = None
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

    def use_features(self, columns: Sequence[Column], catalog: pl.DataFrame | None) -> None:
        """Read fitted columns beside item ids.

        Args:
            catalog: features of the items, row r being item index r + 1; None for a model whose finished tables are
                loaded, which needs them no more.

        Raises:
            ConfigError: this model can't read them; says why.
        """
        if not columns:
            return
        config = self.config
        if not isinstance(self.input, ItemVectors):
            raise ConfigError("model.input = 'onehot' has no item vectors that features could add to", "leave one out")
        layer = FeatureLayer(columns, config.width, config.id_dropout, config.feature_dropout)
        if layer.asks and config.contrastive > 0:
            raise ConfigError(
                "model.contrastive compares what histories say, and here states also say who asks, and when",
                "leave it out, or the features of users and those known at the request (model.without)",
            )
        if catalog is not None:
            layer.hold_items(catalog)
        seen = self.items.candidates
        self.features = layer.to(self.output_bias.device).train(self.training)
        self.featured = Featured(layer, self.input, self.output, self.output_bias, seen)

    @property
    def scores_unseen(self) -> bool:
        """Whether the scores of items without a training event mean anything: where it reads features of items."""
        return self.featured is not None and self.featured.makes_items

    @property
    def opens(self) -> bool:
        """Whether it learns what comes first of all, so that it answers an empty history."""
        return self.featured is not None and self.featured.asks and self.interest_head is None

    @property
    def reads_more(self) -> bool:
        """Whether its encoder reads more of an event than the item: times, or features."""
        return self.traits.timed or (self.features is not None and self.features.events is not None)

    @property
    def asks_more(self) -> bool:
        """Whether states are told more before they rank than what the encoder reads (`asked_by`)."""
        return self.likeness is not None or (self.featured is not None and self.featured.asks)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and answering; weights that change make kept tables stale."""
        if mode:
            self._weights_change()
        return super().train(mode)

    def _weights_change(self) -> None:
        if self.featured is not None:
            self.featured.keep(None)
        self.quick = self.likeness = None

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
        vectors_ND: Tensor = (
            self.input(batch.items, batch.bags) if self.featured is None else self.featured.inputs(batch)
        )
        values_ND = None if self.interest_head is None else self.interest_head.inputs(batch)
        return vectors_ND if values_ND is None else vectors_ND + values_ND

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

    def _told(self, states_SD: Tensor, batch: Batch) -> Tensor:
        """States with what is known of who asks, and when; those of empty histories come last."""
        return states_SD if self.featured is None else self.featured.ask_steps(states_SD, batch, batch.asked()[0])

    def _outputs(self) -> tuple[Tensor | Tower, Tensor]:
        """What items are scored by in training: vectors and biases, or what makes those of a batch."""
        return self._outputs_kept() if self.featured is None else self.featured.outputs()

    def output_table(self) -> tuple[Tensor, Tensor]:
        """(V + 1, W) vectors and (V + 1,) biases that states are scored against to answer; W as in `asked_by`."""
        vectors, biases = self._outputs_kept()
        head, likeness = self.interest_head, self.likeness
        if head is not None and not self.config.ranks:
            return head.table(vectors, biases)
        if likeness is None:
            return vectors, biases
        return likeness.extend_catalog(vectors, biases)

    def _outputs_kept(self) -> tuple[Tensor, Tensor]:
        """(V + 1, D) vectors and (V + 1,) biases of items as the encoder's states are scored against."""
        if self.featured is not None:
            return self.featured.output_table()
        table = self.input if self.output is None else self.output
        assert isinstance(table, ItemVectors)
        return table.weight, self.output_bias

    def items_of(self, frame: pl.DataFrame, items: Tensor) -> tuple[Tensor, Tensor]:
        """(n, W) vectors and (n,) biases of items with the features of a table's rows, as `Featured.items_of`."""
        assert self.featured is not None
        vectors, biases = self.featured.items_of(frame, items)
        head, likeness = self.interest_head, self.likeness
        if head is not None and not self.config.ranks:
            return head.rows(vectors, biases, items)
        if likeness is None:
            return vectors, biases
        return likeness.extend_features(vectors, biases, frame, items)

    def input_table(self) -> Tensor:
        """(V + 1, D) vectors of items as the encoder reads them to answer."""
        if self.featured is not None:
            return self.featured.input_table()
        assert isinstance(self.input, ItemVectors)
        return self.input.weight

    # answering

    def recommend(
        self,
        histories: Histories,
        k: int = 10,
        candidates: Bools | None = None,
        seen: Literal["exclude", "include"] = "exclude",
        exclude: Histories | None = None,
    ) -> Lists:
        """As `Recommender.recommend`; a single history is answered quickly, where something does."""
        few = len(histories) == 1 and self.items.n < SMALL_SCORES and exclude is None
        if self.quick is not None and few and not self.asks_more and self._known(histories)[0]:
            found = self.quick.best(histories, k, self.items.candidates if candidates is None else candidates, seen)
            if found is not None:
                return found
        return super().recommend(histories, k, candidates, seen, exclude)

    def answer_states(self, batch: Batch, places: Tensor) -> Tensor:
        """(n, D) states to answer from after some steps, (n,) int64; each row's newest step is among them.

        Of a model that isn't causal, only those are asked.
        """
        return self.states(batch).index_select(0, places)

    def last_states(self, histories: Histories) -> Tensor:
        """(B, W) state that each history is answered from; histories of one item or more, unless the model `opens`."""
        return self.asked_by(self.encoded(histories), histories)

    def encoded(self, histories: Histories) -> Tensor:
        """(B, W) state after each history's newest step, as far as its events say; zero for an empty one.

        W is the width D, and of a model of interest alone what past values say besides (`InterestHead.table`).
        """
        known = histories.lengths > 0
        if known.all():
            if self.quick is not None and len(histories) <= FEW_HISTORIES:
                return torch.from_numpy(self.quick.states(histories))
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

    @property
    def parameters_count(self) -> int:
        """Numbers that the model learned."""
        return sum(tensor.numel() for tensor in self.state_dict().values())

    def state(self) -> dict[str, Tensor]:
        """Weights and statistics by name, and the finished item tables where features make them."""
        tables = {} if self.featured is None else self.featured.tables()
        found = {**self.state_dict(), **tables, **({} if self.likeness is None else self.likeness.state())}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights and statistics."""
        tables = {name: tensor for name, tensor in state.items() if name in TABLES}
        alike = {name: tensor for name, tensor in state.items() if name.startswith(LIKENESS)}
        self.load_state_dict({name: tensor for name, tensor in state.items() if name not in {*tables, *alike}})
        if self.featured is not None and tables:
            self.featured.keep(tables)
        if self.featured is not None and alike:
            self.likeness = Likeness.load(self.featured.layer.columns, self.items.candidates, alike)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As PyTorch's; tables that were kept are made anew."""
        self._weights_change()
        return super().load_state_dict(*args, **kwargs)

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
